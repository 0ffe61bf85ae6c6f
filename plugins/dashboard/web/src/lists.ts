// Lists that are kept up to date: after the first answer only what has changed is sent.
import { useEffect, useState } from "preact/hooks";
import { ask, Json } from "./api";
import { news } from "./live";

export type Cell = Json;
export type Row = Cell[];

export interface List {
  columns: string[];
  rows: Map<string, Row>;
  total: number;
  missing: string;
  count: number; // grows when something has changed
}

interface Answer {
  version: string;
  whole: boolean;
  columns: string[];
  rows: [string, Row][];
  gone: string[];
  total: number;
  missing: string;
}

export function useList(name: string): { list: List | null; error: string } {
  const [state, setState] = useState<{ list: List | null; error: string }>({ list: null, error: "" });
  useEffect(() => {
    let version = "";
    let rows = new Map<string, Row>();
    let count = 0;
    let busy = false;
    const stop = new AbortController();
    const look = async () => {
      if (busy) return;
      busy = true;
      try {
        const path = `/api/state/${name}?since=${encodeURIComponent(version)}`;
        const answer = (await ask(path, stop.signal)) as Answer;
        if (stop.signal.aborted) return;
        version = answer.version;
        if (answer.whole || answer.rows.length || answer.gone.length || count === 0) {
          if (answer.whole) {
            rows = new Map(answer.rows);
          } else {
            for (const key of answer.gone) rows.delete(key);
            for (const [key, row] of answer.rows) rows.set(key, row);
          }
          count += 1;
          const { columns, total, missing } = answer;
          setState({ list: { columns, rows, total, missing, count }, error: "" });
        } else {
          setState((before) => (before.error ? { ...before, error: "" } : before));
        }
      } catch (error) {
        if (!stop.signal.aborted) setState((before) => ({ ...before, error: (error as Error).message }));
      } finally {
        busy = false;
      }
    };
    setState({ list: null, error: "" });
    void look();
    const unwatch = news.watch(look);
    return () => {
      stop.abort();
      unwatch();
    };
  }, [name]);
  return state;
}
