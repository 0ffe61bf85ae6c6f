// Workers, actors and placement groups.
import { Row } from "../lists";
import { Title } from "../parts";
import { Get, Records } from "../records";
import { resources } from "../words";

export function Workers() {
  return (
    <>
      <Title text="Workers" />
      <Records
        name="workers"
        label="Workers"
        chips="worker_type"
        empty="No process has been seen yet."
        sort={["is_alive", false]}
        specs={[
          { id: "worker_id", title: "Identifier", width: 180, kind: "mono" },
          { id: "worker_type", title: "Kind", width: 90, show: (row, get) => String(get(row, "worker_type")).toLowerCase() },
          { id: "is_alive", title: "State", width: 100, kind: "state", value: (row, get) => (get(row, "is_alive") ? "ALIVE" : "DEAD") },
          { id: "pid", title: "Process", width: 90, kind: "process" },
          { id: "node_id", title: "Node", width: 170, kind: "mono" },
          { id: "start_time_ms", title: "Started", width: 150, kind: "time" },
          { id: "exit_type", title: "How it ended", width: 200 },
          { id: "exit_detail", title: "Detail", width: 240 },
        ]}
        titleOf={(row, get) => `${String(get(row, "worker_type")).toLowerCase()} ${get(row, "worker_id")}`}
        target={(row, get) =>
          get(row, "is_alive") ? { worker: get(row, "worker_id"), node: get(row, "node_id") ?? "", name: `process ${get(row, "pid")}` } : null
        }
      />
    </>
  );
}

export function Actors() {
  return (
    <>
      <Title text="Actors" />
      <Records
        name="actors"
        label="Actors"
        chips="state"
        empty="No actor has been created."
        specs={[
          { id: "class_name", title: "Class", width: 200 },
          { id: "name", width: 150 },
          { id: "state", width: 110, kind: "state" },
          { id: "pid", title: "Process", width: 90, kind: "process" },
          { id: "num_restarts", title: "Restarts", width: 90, kind: "number" },
          { id: "node_id", title: "Node", width: 170, kind: "mono" },
          { id: "actor_id", title: "Identifier", width: 290, kind: "mono" },
          { id: "death_cause", title: "Why it ended", width: 260, value: (row, get) => get(row, "death_cause")?.reason ?? "" },
        ]}
        titleOf={(row, get) => `Actor ${get(row, "class_name")}${get(row, "name") ? ` “${get(row, "name")}”` : ""}`}
        target={actorTarget}
      />
    </>
  );
}

function actorTarget(row: Row, get: Get) {
  const process = get(row, "pid");
  if (get(row, "state") !== "ALIVE" || !process) return null;
  return { worker: String(process), node: get(row, "node_id") ?? "", name: `actor ${get(row, "class_name")}` };
}

export function Groups() {
  return (
    <>
      <Title text="Placement groups" />
      <Records
        name="groups"
        label="Placement groups"
        chips="state"
        empty="No placement group has been created."
        specs={[
          { id: "name", width: 180, value: (row, get) => get(row, "name") || "(no name)" },
          { id: "state", width: 120, kind: "state" },
          { id: "bundles", width: 90, kind: "number", value: (row, get) => get(row, "bundles")?.length ?? 0 },
          { id: "placement_group_id", title: "Identifier", width: 290, kind: "mono" },
          {
            id: "what",
            title: "Reserves",
            width: 320,
            value: (row, get) => ((get(row, "bundles") ?? []) as { unit_resources: Record<string, number> }[]).map((one) => resources(one.unit_resources)).join(" | "),
          },
        ]}
        titleOf={(row, get) => `Placement group ${get(row, "name") || get(row, "placement_group_id")}`}
        more={(row, get) => (
          <table class="small">
            <thead>
              <tr>
                <th>Bundle</th>
                <th>Resources</th>
                <th>Node</th>
              </tr>
            </thead>
            <tbody>
              {((get(row, "bundles") ?? []) as { bundle_index: number; unit_resources: Record<string, number>; node_id: string | null }[]).map((one) => (
                <tr key={one.bundle_index}>
                  <td>{one.bundle_index}</td>
                  <td>{resources(one.unit_resources)}</td>
                  <td class="mono">{one.node_id ?? "waits"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      />
    </>
  );
}
