// What came, went and restarted, and why.
import { Title } from "../parts";
import { Records } from "../records";

export function Events() {
  return (
    <>
      <Title text="Cluster events" />
      <Records
        name="events"
        label="Events"
        chips="source_type"
        empty="Nothing has happened yet."
        specs={[
          { id: "time", width: 210, kind: "mono" },
          { id: "severity", width: 100, kind: "state" },
          { id: "source_type", title: "About", width: 100, show: (row, get) => String(get(row, "source_type")).toLowerCase() },
          { id: "message", width: 420 },
        ]}
        titleOf={(row, get) => String(get(row, "message"))}
      />
    </>
  );
}
