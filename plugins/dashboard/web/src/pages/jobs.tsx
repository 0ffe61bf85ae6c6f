// Programs that use the session, and jobs that were submitted to it, with their logs.
import { useEffect, useState } from "preact/hooks";
import { ask, Json, Refused } from "../api";
import { useAsked } from "../live";
import { Card, Dialog, Facts, Note, State, Title } from "../parts";
import { Records } from "../records";
import { clock, plain } from "../words";

export function Jobs() {
  return (
    <>
      <Title text="Jobs" />
      <Submitted />
      <h2 class="section">Programs</h2>
      <Records
        name="jobs"
        label="Programs"
        chips="status"
        empty="No program has joined."
        specs={[
          { id: "name", width: 160, value: (row, get) => get(row, "name") || get(row, "job_id") },
          { id: "status", width: 110, kind: "state" },
          { id: "priority", width: 80, kind: "number" },
          { id: "waiting", width: 80, kind: "number" },
          { id: "start_time", title: "Began", width: 150, kind: "time" },
          { id: "end_time", title: "Ended", width: 150, kind: "time" },
          { id: "entrypoint", title: "Command", width: 320, kind: "mono" },
          { id: "message", width: 200 },
        ]}
        titleOf={(row, get) => `Program ${get(row, "name") || get(row, "job_id")}`}
      />
    </>
  );
}

function Submitted() {
  const [absent, setAbsent] = useState<string | null>(null); // why there are none, "" if there may be
  useEffect(() => {
    ask("/api/jobs/").then(
      () => setAbsent(""),
      (error: Error) => setAbsent(error instanceof Refused && error.status === 404 ? "the job service is not there." : error.message),
    );
  }, []);
  const { data, error } = useAsked<Json[]>(absent === "" ? "/api/jobs/" : null, 2);
  const [open, setOpen] = useState<Json | null>(null);
  if (absent) return <Note kind="info">Jobs cannot be submitted to this session: {absent}</Note>;
  return (
    <Card title="Submitted jobs">
      {error && <Note kind="bad">{error}</Note>}
      {data && !data.length && <p class="muted">No job has been submitted. Submit one with `shoal job submit`.</p>}
      {data && data.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Submitted jobs">
          <table>
            <thead>
              <tr>
                <th>Job</th>
                <th>State</th>
                <th>Began</th>
                <th>Ended</th>
                <th>Command</th>
                <th>
                  <span class="hidden">Logs</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((job) => {
                const id = job.submission_id ?? job.job_id;
                return (
                  <tr key={id}>
                    <td class="mono">{id}</td>
                    <td>
                      <State state={job.status} />
                    </td>
                    <td>{clock(job.start_time)}</td>
                    <td>{clock(job.end_time)}</td>
                    <td class="mono clip">{job.entrypoint}</td>
                    <td>
                      <button type="button" onClick={() => setOpen(job)}>
                        Details and logs
                      </button>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {open && <Job job={open} onClose={() => setOpen(null)} />}
    </Card>
  );
}

function Job({ job, onClose }: { job: Json; onClose: () => void }) {
  const id = job.submission_id ?? job.job_id;
  const { data, error } = useAsked<Json>(job.submission_id ? `/api/jobs/${encodeURIComponent(id)}/logs` : null, 2);
  return (
    <Dialog title={`Job ${id}`} wide onClose={onClose}>
      <Facts facts={Object.entries(job).map(([name, value]) => [name.replace(/_/g, " "), name === "status" ? <State state={value as string} /> : plain(value)])} />
      <h3>Logs</h3>
      {error && <Note kind="bad">{error}</Note>}
      <pre class="log" tabIndex={0}>
        {data ? data.logs || "It has printed nothing." : "…"}
      </pre>
    </Dialog>
  );
}
