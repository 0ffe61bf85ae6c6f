// Talking to the server. What is not allowed any more shows the login, which says why.
import { useEffect, useState } from "preact/hooks";

export type Json = any;

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Listener = () => void;

/** A value that components show: they are drawn anew when it changes. */
export class Shared<T> {
  private listeners = new Set<Listener>();
  constructor(private now: T) {}
  get value(): T {
    return this.now;
  }
  set value(next: T) {
    if (next === this.now) return;
    this.now = next;
    for (const listener of [...this.listeners]) listener();
  }
  watch(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

export function useShared<T>(shared: Shared<T>): T {
  const [, draw] = useState(0);
  useEffect(() => shared.watch(() => draw((count) => count + 1)), [shared]);
  return shared.value;
}

export interface Login {
  state: "unknown" | "in" | "out";
  reason: string;
}
export const login = new Shared<Login>({ state: "unknown", reason: "" });

async function send(path: string, init: RequestInit): Promise<Json> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init });
  } catch {
    throw new Refused(0, "The server does not answer: the session may have ended.");
  }
  let body: Json = null;
  try {
    body = await answer.json();
  } catch {
    // not JSON: the status says enough
  }
  if (answer.ok) return body;
  const text = body?.message ?? body?.error ?? `${answer.status} ${answer.statusText}`;
  if (answer.status === 401 && path !== "/api/login") {
    const stale = body?.error === "stale" || login.value.state === "in";
    login.value = {
      state: "out",
      reason: stale ? "Your login is over: it was too long ago, or it was for another session." : "",
    };
  }
  throw new Refused(answer.status, text);
}

export function ask(path: string, signal?: AbortSignal): Promise<Json> {
  return send(path, { signal: signal ?? null });
}

export function post(path: string, body: Json): Promise<Json> {
  const headers = { "Content-Type": "application/json", "X-Shoal": "1" };
  return send(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Prove the token; afterwards the browser has a cookie. */
export async function logIn(token: string): Promise<void> {
  await post("/api/login", { token });
  login.value = { state: "in", reason: "" };
}

export async function logOut(): Promise<void> {
  await post("/api/logout", {});
  login.value = { state: "out", reason: "You have logged out." };
}
