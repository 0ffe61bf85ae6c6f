// Objects, who holds them, and what the stores have.
import { useShared } from "../api";
import { news } from "../live";
import { Bar, Card, Title } from "../parts";
import { Records } from "../records";
import { bytes, count } from "../words";

export function Objects() {
  const gauges = useShared(news)?.gauges;
  const share = gauges && gauges.store_capacity_bytes ? gauges.store_used_bytes / gauges.store_capacity_bytes : 0;
  return (
    <>
      <Title text="Objects and memory" />
      <Records
        name="objects"
        label="Objects"
        chips="reference_type"
        sort={["object_size", true]}
        empty="No process holds an object."
        above={(list, get) => {
          const holders = new Map<string, [number, number]>();
          for (const row of list.rows.values()) {
            const name = `${String(get(row, "type")).toLowerCase()} ${get(row, "pid") ?? ""}`;
            const one = holders.get(name) ?? [0, 0];
            one[0] += 1;
            one[1] += get(row, "object_size") ?? 0;
            holders.set(name, one);
          }
          const largest = [...holders].sort((a, b) => b[1][1] - a[1][1]).slice(0, 5);
          return (
            <div class="cards is-two">
              <Card title="Object stores">
                <Bar share={share} label="Object stores" />
                <p>
                  {bytes(gauges?.store_used_bytes ?? 0)} of {bytes(gauges?.store_capacity_bytes ?? 0)} in shared memory, {count(gauges?.store_objects ?? 0)} objects;{" "}
                  {bytes(gauges?.store_spilled_bytes ?? 0)} on disk.
                </p>
              </Card>
              <Card title="Who holds most">
                <table class="small">
                  <tbody>
                    {largest.map(([name, [references, size]]) => (
                      <tr key={name}>
                        <td>{name}</td>
                        <td class="right">{count(references)} references</td>
                        <td class="right">{bytes(size)}</td>
                      </tr>
                    ))}
                    {!largest.length && (
                      <tr>
                        <td>nobody holds anything</td>
                      </tr>
                    )}
                  </tbody>
                </table>
              </Card>
            </div>
          );
        }}
        specs={[
          { id: "object_size", title: "Size", width: 100, kind: "bytes" },
          { id: "object_id", title: "Identifier", width: 360, kind: "mono" },
          { id: "task_status", title: "State", width: 110, kind: "state" },
          { id: "reference_type", title: "Held as", width: 190, show: (row, get) => String(get(row, "reference_type") ?? "").toLowerCase().replace(/_/g, " ") },
          { id: "type", title: "Holder", width: 90, show: (row, get) => String(get(row, "type") ?? "").toLowerCase() },
          { id: "pid", title: "Process", width: 90, kind: "process" },
          { id: "call_site", title: "Made at", width: 240, kind: "mono" },
        ]}
        titleOf={(row, get) => `Object ${get(row, "object_id")}`}
      />
    </>
  );
}
