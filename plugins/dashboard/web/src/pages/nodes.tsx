// Nodes, with what each has and uses.
import { Chart } from "../chart";
import { Title } from "../parts";
import { Records } from "../records";
import { Series, useSeries } from "../series";
import { bytes, resources } from "../words";

function last(series: Series | null, node: string, name: string): number | null {
  const values = series?.nodes.get(node)?.values[name];
  return values?.[values.length - 1] ?? null;
}

export function Nodes() {
  const series = useSeries();
  return (
    <>
      <Title text="Nodes" />
      <Records
        name="nodes"
        label="Nodes"
        chips="state"
        empty="No node has told of itself yet."
        specs={[
          { id: "node_name", title: "Name", width: 180, value: (row, get) => get(row, "node_name") || "this machine" },
          { id: "state", width: 110, kind: "state" },
          { id: "is_head_node", title: "Head", width: 70 },
          { id: "node_ip", title: "Address", width: 170, kind: "mono", value: (row, get) => get(row, "node_ip") || "local" },
          { id: "resources_total", title: "Resources", width: 330, kind: "resources" },
          { id: "node_id", title: "Identifier", width: 170, kind: "mono" },
          { id: "start_time_ms", title: "Started", width: 150, kind: "time" },
          { id: "state_message", title: "Why", width: 200 },
        ]}
        titleOf={(row, get) => `Node ${get(row, "node_name") || get(row, "node_id")}`}
        target={(row, get) =>
          get(row, "state") === "DEAD" ? null : { worker: "daemon", node: get(row, "node_id"), name: `the daemon of ${get(row, "node_name") || "this node"}` }
        }
        more={(row, get) => {
          const mine = series?.nodes.get(get(row, "node_id"));
          if (!mine) return null;
          const line = (name: string) => [{ name: "now", values: mine.values[name] ?? [] }];
          return (
            <>
              <Chart title="Processors" times={mine.t} lines={line("cpu_used_fraction")} show={(value) => `${Math.round(value * 100)} %`} most={1} />
              <Chart title="Memory" times={mine.t} lines={line("memory_used_bytes")} show={bytes} binary />
              <p class="muted">
                {resources(get(row, "resources_total"))}; object store {bytes(last(series, get(row, "node_id"), "store_used_bytes"))}
              </p>
            </>
          );
        }}
      />
    </>
  );
}
