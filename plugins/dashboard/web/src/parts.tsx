// Small parts that pages are made of.
import { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Json } from "./api";
import { plain } from "./words";

const GOOD = new Set(["ALIVE", "FINISHED", "CREATED", "SUCCEEDED", "RUNNING", "HEALTHY", "COMPLETED", "TERMINATED", "INFO"]);
const BUSY = new Set(["RUNNING", "RESTARTING", "DRAINING", "RESCHEDULING", "DEPLOYING", "UPDATING"]);
const BAD = new Set(["DEAD", "FAILED", "ERROR", "UNHEALTHY", "DEPLOY_FAILED", "ERRORED"]);
const WARN = new Set(["WARNING", "STOPPED", "REMOVED"]);

const WORDS: Record<string, string> = {
  PENDING_ARGS_AVAIL: "waits for arguments",
  PENDING_NODE_ASSIGNMENT: "waits for a node",
  PENDING_ACTOR_TASK_ARGS_FETCH: "fetches arguments",
  PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY: "waits its turn",
  SUBMITTED_TO_WORKER: "at a worker",
};

/** A state as people say it. */
export function stateWords(state: string): string {
  return WORDS[state] ?? state.toLowerCase().replace(/_/g, " ");
}

export function State({ state }: { state: string | null | undefined }) {
  if (!state) return null;
  const kind = BAD.has(state) ? "bad" : BUSY.has(state) ? "busy" : GOOD.has(state) ? "good" : WARN.has(state) ? "warn" : "idle";
  return <span class={`state is-${kind}`}>{stateWords(state)}</span>;
}

export function Title({ text, children }: { text: string; children?: ComponentChildren }) {
  return (
    <header class="title">
      <h1>{text}</h1>
      <div class="title-more">{children}</div>
    </header>
  );
}

export function Card(props: { title: string; children: ComponentChildren; class?: string; more?: ComponentChildren }) {
  return (
    <section class={`card ${props.class ?? ""}`}>
      <header>
        <h2>{props.title}</h2>
        {props.more}
      </header>
      {props.children}
    </section>
  );
}

export function Note({ kind, children }: { kind: "info" | "warn" | "bad"; children: ComponentChildren }) {
  return (
    <p class={`note is-${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {children}
    </p>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Bar({ share, label }: { share: number; label: string }) {
  const part = Math.max(0, Math.min(1, share));
  return (
    <div class="bar" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(part * 100)}>
      <div class={part > 0.9 ? "is-full" : ""} style={{ width: `${part * 100}%` }} />
    </div>
  );
}

/** A dialog at the side or in the middle; Escape and a click beside it close it. */
export function Dialog(props: { title: string; wide?: boolean; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
  }, []);
  return (
    <dialog
      ref={element}
      class={props.wide ? "is-wide" : "is-side"}
      aria-label={props.title}
      onClose={props.onClose}
      onClick={(event) => {
        if (event.target === element.current) element.current?.close();
      }}
    >
      <div class="dialog-inner">
        <header>
          <h2>{props.title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={() => element.current?.close()}>
            ✕
          </button>
        </header>
        <div class="dialog-body" tabIndex={0}>
          {props.children}
        </div>
      </div>
    </dialog>
  );
}

export function Facts({ facts }: { facts: [string, ComponentChildren | Json][] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{isPlain(value) ? plain(value) : value}</dd>
          </div>
        ))}
    </dl>
  );
}

function isPlain(value: unknown): boolean {
  return typeof value !== "object" || value === null || !("type" in value && "props" in value);
}

export function Search(props: { value: string; onChange: (value: string) => void; label: string; shown?: number; total?: number }) {
  return (
    <div class="search">
      <input
        type="search"
        id="search"
        aria-label={props.label}
        placeholder={`${props.label}  ( / )`}
        value={props.value}
        autoComplete="off"
        spellcheck={false}
        onInput={(event) => props.onChange(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            props.onChange("");
            event.currentTarget.blur();
          }
          if (event.key === "Enter") event.currentTarget.blur();
        }}
      />
      {props.total !== undefined && (
        <span class="muted" aria-live="polite">
          {props.shown === props.total ? `${props.total.toLocaleString("en")}` : `${(props.shown ?? 0).toLocaleString("en")} of ${props.total.toLocaleString("en")}`}
        </span>
      )}
    </div>
  );
}

export function Chips<T extends string>(props: {
  label: string;
  chosen: T | "";
  counts: [T, number][];
  onChoose: (chosen: T | "") => void;
}) {
  return (
    <div class="chips" role="group" aria-label={props.label}>
      <button type="button" aria-pressed={props.chosen === ""} onClick={() => props.onChoose("")}>
        all
      </button>
      {props.counts.map(([name, count]) => (
        <button type="button" key={name} aria-pressed={props.chosen === name} onClick={() => props.onChoose(props.chosen === name ? "" : name)}>
          {stateWords(name)} <span class="muted">{count.toLocaleString("en")}</span>
        </button>
      ))}
    </div>
  );
}
