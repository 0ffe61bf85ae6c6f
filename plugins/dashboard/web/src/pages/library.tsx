// A page that a library fills with plain data: tables, charts, a text.
import { Chart } from "../chart";
import { Json } from "../api";
import { useAsked } from "../live";
import { Card, Empty, Note, State, Title } from "../parts";
import { count, plain } from "../words";

const WHAT: Record<string, string> = {
  serve: "applications and deployments of shoal.serve",
  train: "runs of shoal.train",
  tune: "experiments and trials of shoal.tune",
  data: "pipelines of shoal.data and the progress of their steps",
};

const STATES = new Set(["state", "status"]);

export function Library({ name, title }: { name: string; title: string }) {
  const { data, error } = useAsked<Json>(`/api/pages/${name}`, 2);
  const tables: Json[] = data?.tables ?? [];
  const charts: Json[] = data?.charts ?? [];
  return (
    <>
      <Title text={data?.title ?? title} />
      {error && <Note kind="bad">{error}</Note>}
      {data?.error && <Note kind="bad">The library could not tell: {data.error}</Note>}
      {data?.absent && (
        <Empty title={`Nothing tells of ${title} here`}>
          <p>
            This page shows {WHAT[name]}. The library that fills it is not installed in this session, or does not tell yet.
          </p>
        </Empty>
      )}
      {data?.text && <p>{data.text}</p>}
      <div class="cards is-two">
        {charts.map((chart) => {
          const names = Object.keys(chart.series ?? {});
          const times = [...new Set<number>(names.flatMap((one) => chart.series[one].map((point: number[]) => point[0]!)))].sort((a, b) => a - b);
          const lines = names.map((one) => {
            const known = new Map<number, number>(chart.series[one]);
            return { name: one, values: times.map((time) => known.get(time) ?? null) };
          });
          return <Chart key={chart.name} title={chart.name} times={times} lines={lines} show={count} seconds={86400} />;
        })}
      </div>
      {tables.map((table) => (
        <Card key={table.name} title={table.name}>
          <div class="scroll" tabIndex={0} role="region" aria-label={table.name}>
            <table>
              <thead>
                <tr>
                  {table.columns.map((column: string) => (
                    <th key={column}>{column}</th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {table.rows.slice(0, 500).map((row: Json[], index: number) => (
                  <tr key={index}>
                    {row.map((cell, at) => (
                      <td key={at} class={typeof cell === "number" ? "right" : ""}>
                        {STATES.has(String(table.columns[at]).toLowerCase()) ? <State state={cell} /> : plain(cell)}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {!table.rows.length && <p class="muted">Nothing yet.</p>}
          {table.rows.length > 500 && <p class="muted">The first 500 of {table.rows.length}.</p>}
        </Card>
      ))}
    </>
  );
}
