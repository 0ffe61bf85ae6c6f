// The overview: counts, resources, charts, the busiest functions, the last events.
import { Json, useShared } from "../api";
import { Chart } from "../chart";
import { getter } from "../records";
import { useList } from "../lists";
import { news, useAsked } from "../live";
import { Bar, Card, Note, State, Title } from "../parts";
import { go } from "../router";
import { lines, useSeries } from "../series";
import { bytes, count, seconds } from "../words";

function sum(counts: Record<string, number> | undefined): number {
  return Object.values(counts ?? {}).reduce((total, one) => total + one, 0);
}

const NAMES: Record<string, string> = { memory: "Memory for tasks", object_store_memory: "Room for objects" };

function Tile({ name, value, more, to }: { name: string; value: string; more: string; to: string }) {
  return (
    <a
      class="tile"
      href={to}
      onClick={(event) => {
        event.preventDefault();
        go(to);
      }}
    >
      <span>{name}</span>
      <b>{value}</b>
      <small>{more}</small>
    </a>
  );
}

export function Overview() {
  const now = useShared(news);
  const series = useSeries();
  const { data: progress } = useAsked<Json>("/api/functions", 2);
  const { list: events } = useList("events");
  if (!now) return <p class="muted loading">Asking the session…</p>;
  const { tasks, actors, nodes, jobs } = now;
  const waiting = sum(tasks) - (tasks.FINISHED ?? 0) - (tasks.FAILED ?? 0) - (tasks.RUNNING ?? 0);
  const labels = new Map<string, string>();
  const one = series && series.nodes.size === 1;
  const chart = (name: string) => {
    const made = series ? lines(series, name, labels) : { times: [], lines: [] };
    if (one && made.lines[0]) made.lines[0].name = "now";
    return made;
  };
  const cpu = chart("cpu_used_fraction");
  const memory = chart("memory_used_bytes");
  const store = chart("store_used_bytes");
  const get = events && getter(events);
  const recent = events ? [...events.rows.values()].slice(0, 8) : [];
  return (
    <>
      <Title text="Overview" />
      {now.missing && <Note kind="warn">Not everything is counted or listed: {now.missing}.</Note>}
      <div class="tiles">
        <Tile name="Tasks running" value={count(tasks.RUNNING ?? 0)} more={`${count(waiting)} waiting`} to="/tasks" />
        <Tile name="Tasks finished" value={count(tasks.FINISHED ?? 0)} more={`${count(tasks.FAILED ?? 0)} failed`} to={tasks.FAILED ? "/tasks?state=FAILED" : "/tasks"} />
        <Tile name="Actors alive" value={count(actors.ALIVE ?? 0)} more={`${count(actors.DEAD ?? 0)} dead`} to="/actors" />
        <Tile name="Nodes alive" value={count(nodes.ALIVE ?? 0)} more={`${count(sum(nodes) - (nodes.ALIVE ?? 0))} not`} to="/nodes" />
        <Tile name="Workers" value={count(now.workers)} more={`${count(now.gauges.leases_waiting)} demands wait`} to="/workers" />
        <Tile name="Programs running" value={count(jobs.RUNNING ?? 0)} more={`${count(sum(jobs) - (jobs.RUNNING ?? 0))} ended`} to="/jobs" />
      </div>
      <div class="cards">
        <Card title="Resources" class="is-resources">
          <ul class="meters">
            {now.resources.map((resource: Json) => {
              const show = /memory/.test(resource.name) ? bytes : count;
              return (
                <li key={resource.name}>
                  <span title={resource.name}>{NAMES[resource.name] ?? resource.name}</span>
                  <Bar share={resource.total ? resource.used / resource.total : 0} label={NAMES[resource.name] ?? resource.name} />
                  <span class="muted">
                    {show(resource.used)} of {show(resource.total)}
                  </span>
                </li>
              );
            })}
            <li>
              <span>Machine memory</span>
              <Bar share={now.gauges.memory_total_bytes ? now.gauges.memory_used_bytes / now.gauges.memory_total_bytes : 0} label="Machine memory" />
              <span class="muted">
                {bytes(now.gauges.memory_used_bytes)} of {bytes(now.gauges.memory_total_bytes)}
              </span>
            </li>
            <li>
              <span>Object store</span>
              <Bar share={now.gauges.store_capacity_bytes ? now.gauges.store_used_bytes / now.gauges.store_capacity_bytes : 0} label="Object store" />
              <span class="muted">
                {bytes(now.gauges.store_used_bytes)} of {bytes(now.gauges.store_capacity_bytes)}
              </span>
            </li>
          </ul>
        </Card>
        <Chart
          title="Tasks a second"
          times={series?.tasks.t ?? []}
          lines={[
            { name: "finished", values: series?.tasks.finished ?? [] },
            { name: "failed", values: series?.tasks.failed ?? [] },
          ]}
          show={count}
          seconds={600}
        />
        <Chart title="Processors" times={cpu.times} lines={cpu.lines} show={(value) => `${Math.round(value * 100)} %`} most={1} />
        <Chart title="Memory" times={memory.times} lines={memory.lines} show={bytes} binary />
        <Chart title="Object store" times={store.times} lines={store.lines} show={bytes} binary />
        <Card title="Busiest functions">
          <table class="small">
            <thead>
              <tr>
                <th>Function</th>
                <th class="right">Running</th>
                <th class="right">Finished</th>
                <th class="right">Failed</th>
                <th class="right">Mean</th>
              </tr>
            </thead>
            <tbody>
              {(progress?.functions ?? []).slice(0, 8).map((row: Json) => (
                <tr key={row.name}>
                  <td class="mono clip">{row.name}</td>
                  <td class="right">{count(row.running)}</td>
                  <td class="right">{count(row.finished)}</td>
                  <td class={`right${row.failed ? " bad" : ""}`}>{count(row.failed)}</td>
                  <td class="right">{row.finished + row.failed ? seconds(row.seconds / (row.finished + row.failed)) : ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {progress && !progress.functions.length && <p class="muted">No call has been made yet.</p>}
        </Card>
        <Card title="Last events" class="is-wide">
          <ol class="events">
            {get &&
              recent.map((row) => (
                <li key={String(get(row, "event_id"))}>
                  <time class="mono muted">{String(get(row, "time")).slice(11, 19)}</time>
                  <State state={get(row, "severity")} />
                  <span>{get(row, "message")}</span>
                </li>
              ))}
          </ol>
        </Card>
      </div>
    </>
  );
}
