// Looking into a process: stack, flame graph, allocations.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Json, post } from "./api";
import { Dialog, Note } from "./parts";
import { bytes, count } from "./words";

export interface Target {
  worker: string;
  node: string;
  name: string;
}
export type Kind = "stack" | "flame" | "memory";

const TITLES: Record<Kind, string> = { stack: "Stack", flame: "Flame graph", memory: "Memory profile" };
const SECONDS = 5;

export function InspectButtons({ target, live }: { target: Target | null; live: boolean }) {
  const [kind, setKind] = useState<Kind | null>(null);
  if (!target || !live) return null;
  return (
    <div class="buttons">
      {(Object.keys(TITLES) as Kind[]).map((one) => (
        <button type="button" key={one} onClick={() => setKind(one)}>
          {TITLES[one]}
        </button>
      ))}
      {kind && <Inspect kind={kind} target={target} onClose={() => setKind(null)} />}
    </div>
  );
}

function Inspect({ kind, target, onClose }: { kind: Kind; target: Target; onClose: () => void }) {
  const [found, setFound] = useState<Json | null>(null);
  const [error, setError] = useState("");
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let over = false;
    setFound(null);
    setError("");
    post("/api/inspect", { kind, node: target.node, worker: target.worker, seconds: SECONDS }).then(
      (answer) => !over && setFound(answer),
      (problem: Error) => !over && setError(problem.message),
    );
    return () => {
      over = true;
    };
  }, [kind, target.worker, tries]);
  return (
    <Dialog title={`${TITLES[kind]} of ${target.name}`} wide onClose={onClose}>
      {!found && !error && (
        <Note kind="info">
          {kind === "stack" ? "Reading the stack…" : `Recording for ${SECONDS} seconds…`}
        </Note>
      )}
      {error && <Note kind="bad">{error}</Note>}
      {found && kind === "stack" && <Threads threads={found.threads} />}
      {found && kind !== "stack" && <Flame stacks={found.stacks} unit={found.unit} />}
      {(found || error) && (
        <div class="buttons">
          <button type="button" onClick={() => setTries(tries + 1)}>
            Again
          </button>
        </div>
      )}
    </Dialog>
  );
}

function Threads({ threads }: { threads: Json[] }) {
  const sorted = [...threads].sort((a, b) => Number(b.active) - Number(a.active));
  return (
    <div class="threads">
      {sorted.map((thread, index) => (
        <section key={index}>
          <h3>
            {thread.thread_name ?? `thread ${thread.os_thread_id ?? index}`}{" "}
            <span class={`state is-${thread.active ? "busy" : "idle"}`}>{thread.active ? "running" : "waiting"}</span>
            {thread.owns_gil && <span class="state is-warn">holds the interpreter</span>}
          </h3>
          <ol>
            {thread.frames.map((frame: Json, at: number) => (
              <li key={at}>
                <b>{frame.name}</b>{" "}
                <span class="muted">
                  {frame.short_filename ?? frame.filename}:{frame.line}
                </span>
              </li>
            ))}
          </ol>
        </section>
      ))}
    </div>
  );
}

interface Frame {
  name: string;
  value: number;
  children: Map<string, Frame>;
}

function tree(stacks: [string, number][]): Frame {
  const root: Frame = { name: "all", value: 0, children: new Map() };
  for (const [stack, value] of stacks) {
    root.value += value;
    let at = root;
    for (const name of stack.split(";")) {
      let child = at.children.get(name);
      if (!child) at.children.set(name, (child = { name, value: 0, children: new Map() }));
      child.value += value;
      at = child;
    }
  }
  return root;
}

const LEAST = 0.002; // of the width: what is narrower is not drawn

interface Box {
  frame: Frame;
  depth: number;
  left: number;
  width: number;
}

function boxes(root: Frame): Box[] {
  const found: Box[] = [];
  const walk = (frame: Frame, depth: number, left: number) => {
    const width = frame.value / root.value;
    if (width < LEAST || depth > 200) return;
    found.push({ frame, depth, left, width });
    let at = left;
    for (const child of [...frame.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      walk(child, depth + 1, at);
      at += child.value / root.value;
    }
  };
  walk(root, 0, 0);
  return found;
}

function hue(name: string): number {
  let sum = 0;
  for (let index = 0; index < name.length; index += 1) sum = (sum * 31 + name.charCodeAt(index)) % 997;
  return sum % 5;
}

function Flame({ stacks, unit }: { stacks: [string, number][]; unit: string }) {
  const whole = useMemo(() => tree(stacks), [stacks]);
  const [root, setRoot] = useState<Frame>(whole);
  useEffect(() => setRoot(whole), [whole]);
  const drawn = useMemo(() => boxes(root), [root]);
  const depth = drawn.reduce((most, one) => Math.max(most, one.depth), 0);
  const amount = (value: number) => (unit === "bytes" ? bytes(value) : `${count(value)} ${unit}`);
  const own = useMemo(() => {
    const totals = new Map<string, number>();
    for (const [stack, value] of stacks) {
      const leaf = stack.slice(stack.lastIndexOf(";") + 1);
      totals.set(leaf, (totals.get(leaf) ?? 0) + value);
    }
    return [...totals].sort((a, b) => b[1] - a[1]).slice(0, 15);
  }, [stacks]);
  if (!whole.value) return <Note kind="info">Nothing was recorded: the process did nothing in that time.</Note>;
  return (
    <>
      <p class="muted">
        {amount(whole.value)}
        {unit === "samples" ? ", a hundred a second for each thread that ran." : " that were allocated meanwhile, and there at the peak."} Click a function to
        see it alone{root !== whole ? "; " : "."}
        {root !== whole && (
          <button type="button" class="link" onClick={() => setRoot(whole)}>
            show all
          </button>
        )}
      </p>
      <div class="flame" style={{ height: `${(depth + 1) * 20}px` }} role="group" aria-label="Flame graph">
        {drawn.map((one, index) => {
          const text = `${one.frame.name}: ${amount(one.frame.value)}, ${((one.frame.value / whole.value) * 100).toFixed(1)} %`;
          return (
            <button
              type="button"
              key={index}
              tabIndex={one.width > 0.05 ? 0 : -1}
              title={text}
              aria-label={text}
              class={`flame-${hue(one.frame.name)}`}
              style={{ left: `${one.left * 100}%`, width: `${one.width * 100}%`, top: `${one.depth * 20}px` }}
              onClick={() => setRoot(one.frame)}
            >
              {one.width > 0.03 ? one.frame.name : ""}
            </button>
          );
        })}
      </div>
      <h3>By function alone</h3>
      <table class="small">
        <tbody>
          {own.map(([name, value]) => (
            <tr key={name}>
              <td class="right">{amount(value)}</td>
              <td class="mono">{name}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
