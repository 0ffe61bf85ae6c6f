// News from the server: one stream for the whole page, closed while nobody sees it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, Json, login, Shared } from "./api";

export const news = new Shared<Json | null>(null);
export const trouble = new Shared<string>("");
export const paused = new Shared<boolean>(false);

let source: EventSource | null = null;

function open(): void {
  if (source || document.hidden || paused.value || login.value.state !== "in") return;
  const mine = new EventSource("/api/news");
  source = mine;
  mine.addEventListener("tick", (event) => {
    trouble.value = "";
    news.value = JSON.parse((event as MessageEvent).data);
  });
  mine.addEventListener("trouble", (event) => {
    trouble.value = JSON.parse((event as MessageEvent).data).message;
  });
  mine.onerror = () => {
    trouble.value = "No connection to the server; trying again.";
    // A browser gives up for good when it is refused: ask why, which shows the login if that is it.
    if (mine.readyState === EventSource.CLOSED && source === mine) {
      source = null;
      ask("/api/version").catch(() => undefined);
      setTimeout(open, 3000);
    }
  };
}

function shut(): void {
  source?.close();
  source = null;
}

function sync(): void {
  if (document.hidden || paused.value || login.value.state !== "in") shut();
  else open();
}

document.addEventListener("visibilitychange", sync);
login.watch(sync);
paused.watch(sync);

/** What an address answers, asked again when there is news, at most every `seconds`. */
export function useAsked<T = Json>(path: string | null, seconds = 1): { data: T | null; error: string } {
  const [state, setState] = useState<{ data: T | null; error: string }>({ data: null, error: "" });
  const busy = useRef(false);
  const last = useRef(0);
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    const look = async () => {
      if (busy.current || performance.now() - last.current < seconds * 1000 - 50) return;
      busy.current = true;
      try {
        const data = (await ask(path, stop.signal)) as T;
        if (!stop.signal.aborted) setState({ data, error: "" });
      } catch (error) {
        if (!stop.signal.aborted) setState((before) => ({ ...before, error: String((error as Error).message) }));
      } finally {
        busy.current = false;
        last.current = performance.now();
      }
    };
    busy.current = false;
    last.current = -Infinity;
    setState({ data: null, error: "" });
    void look();
    const unwatch = news.watch(look);
    return () => {
      stop.abort();
      unwatch();
    };
  }, [path, seconds]);
  return state;
}
