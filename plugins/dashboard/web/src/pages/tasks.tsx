// Tasks: the list, progress by function, and the timeline.
import { Json } from "../api";
import { useAsked } from "../live";
import { Note, Search, Title } from "../parts";
import { Records } from "../records";
import { useQuery } from "../router";
import { Timeline } from "../timeline";
import { clock, count, seconds } from "../words";

const VIEWS: [string, string][] = [
  ["", "List"],
  ["functions", "By function"],
  ["timeline", "Timeline"],
];

export function Tasks() {
  const [view, setView] = useQuery("view");
  return (
    <>
      <Title text="Tasks">
        <div class="tabs" role="group" aria-label="View">
          {VIEWS.map(([id, name]) => (
            <button type="button" key={id} aria-pressed={view === id} onClick={() => setView(id)}>
              {name}
            </button>
          ))}
        </div>
      </Title>
      {view === "functions" ? <Functions /> : view === "timeline" ? <Timeline /> : <TaskList />}
    </>
  );
}

function duration(begin: number | null, end: number | null): number | null {
  return begin && end ? (end - begin) / 1000 : null;
}

function TaskList() {
  return (
    <Records
      name="tasks"
      label="Tasks"
      chips="state"
      empty="No task has been called yet."
      specs={[
        { id: "name", title: "Function", width: 230 },
        { id: "state", width: 160, kind: "state" },
        { id: "type", title: "Kind", width: 80, show: (row, get) => (get(row, "type") === "ACTOR_TASK" ? "actor" : "task") },
        { id: "creation_time_ms", title: "Called", width: 100, kind: "time" },
        {
          id: "duration",
          title: "Took",
          width: 90,
          kind: "number",
          value: (row, get) => duration(get(row, "start_time_ms"), get(row, "end_time_ms")),
          show: (row, get) => {
            const took = duration(get(row, "start_time_ms"), get(row, "end_time_ms"));
            return took === 0 ? "< 1 ms" : seconds(took);
          },
        },
        { id: "attempt_number", title: "Attempt", width: 80, kind: "number" },
        { id: "worker_pid", title: "Process", width: 90, kind: "process" },
        { id: "task_id", title: "Identifier", width: 290, kind: "mono" },
        { id: "error_type", title: "Error", width: 200 },
      ]}
      titleOf={(row, get) => String(get(row, "name"))}
      target={(row, get) =>
        get(row, "state") === "RUNNING" && get(row, "worker_id")
          ? { worker: get(row, "worker_id"), node: get(row, "node_id") ?? "", name: `the worker that runs ${get(row, "name")}` }
          : null
      }
    />
  );
}

function Functions() {
  const { data, error } = useAsked<Json>("/api/functions", 1);
  const [search, setSearch] = useQuery("q");
  const all: Json[] = data?.functions ?? [];
  const found = all.filter((row) => row.name.toLowerCase().includes(search.toLowerCase()));
  return (
    <>
      {error && <Note kind="bad">{error}</Note>}
      {data?.missing && <Note kind="warn">Not everything is counted: {data.missing}.</Note>}
      <div class="tools">
        <Search value={search} onChange={setSearch} label="Search functions" shown={found.length} total={all.length} />
      </div>
      <div class="scroll card" tabIndex={0} role="region" aria-label="Progress by function">
        <table>
          <thead>
            <tr>
              <th>Function</th>
              <th>Progress</th>
              <th class="right">Waiting</th>
              <th class="right">Running</th>
              <th class="right">Finished</th>
              <th class="right">Failed</th>
              <th class="right">Mean</th>
              <th class="right">Longest</th>
              <th class="right">Together</th>
              <th>Last ended</th>
              <th>Last error</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, 500).map((row) => {
              const total = row.finished + row.failed + row.running + row.waiting;
              const ended = row.finished + row.failed;
              return (
                <tr key={row.name}>
                  <td class="mono">{row.name}</td>
                  <td>
                    <div
                      class="stacked"
                      role="img"
                      aria-label={`${count(row.finished)} finished, ${count(row.failed)} failed, ${count(row.running)} running, ${count(row.waiting)} waiting`}
                    >
                      {(["finished", "failed", "running", "waiting"] as const).map((kind) => (
                        <i key={kind} class={`is-${kind}`} style={{ width: `${total ? (row[kind] / total) * 100 : 0}%` }} />
                      ))}
                    </div>
                  </td>
                  <td class="right">{count(row.waiting)}</td>
                  <td class="right">{count(row.running)}</td>
                  <td class="right">{count(row.finished)}</td>
                  <td class={`right${row.failed ? " bad" : ""}`}>{count(row.failed)}</td>
                  <td class="right">{ended ? seconds(row.seconds / ended) : ""}</td>
                  <td class="right">{ended ? seconds(row.longest) : ""}</td>
                  <td class="right">{seconds(row.seconds)}</td>
                  <td>{clock(row.last * 1000)}</td>
                  <td class="clip" title={row.error}>
                    {row.error}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
        {data && !all.length && <p class="muted">No task has been called yet.</p>}
      </div>
    </>
  );
}
