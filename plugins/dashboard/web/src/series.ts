// The charts' points: what is new is added to what is known.
import { useEffect, useState } from "preact/hooks";
import { ask, Json } from "./api";
import { news } from "./live";

const SECONDS = 3600;

export interface Series {
  nodes: Map<string, { t: number[]; values: Record<string, number[]> }>;
  tasks: { t: number[]; finished: number[]; failed: number[] };
}

export function useSeries(): Series | null {
  const [series, setSeries] = useState<Series | null>(null);
  useEffect(() => {
    const nodes: Series["nodes"] = new Map();
    const ended = new Map<number, [number, number]>();
    let since = 0;
    let busy = false;
    const stop = new AbortController();
    const look = async () => {
      if (busy) return;
      busy = true;
      try {
        const answer: Json = await ask(`/api/series?since=${since}`, stop.signal);
        if (stop.signal.aborted) return;
        let newest = since;
        for (const [node, told] of Object.entries<Json>(answer.nodes)) {
          const { t, ...values } = told;
          let mine = nodes.get(node);
          if (!mine) nodes.set(node, (mine = { t: [], values: {} }));
          const from = mine.t[mine.t.length - 1] ?? 0;
          t.forEach((time: number, index: number) => {
            if (time <= from) return;
            mine!.t.push(time);
            for (const name of Object.keys(values)) (mine!.values[name] ??= []).push(values[name][index]);
            newest = Math.max(newest, time);
          });
        }
        answer.tasks.t.forEach((second: number, index: number) => {
          ended.set(second, [answer.tasks.finished[index], answer.tasks.failed[index]]);
        });
        // Calls are told up to a second late, so the last seconds are asked for again.
        since = Math.max(0, newest - 10);
        const last = Math.floor(Date.now() / 1000);
        const first = Math.max(last - SECONDS, Math.min(...ended.keys(), last - 60));
        const t: number[] = [];
        const finished: number[] = [];
        const failed: number[] = [];
        const end = ended.size && Math.max(...ended.keys()) < last - SECONDS ? Math.max(...ended.keys()) + 5 : last;
        for (let second = Math.min(first, end - 60); second < end; second += 1) {
          t.push(second);
          finished.push(ended.get(second)?.[0] ?? 0);
          failed.push(ended.get(second)?.[1] ?? 0);
        }
        setSeries({ nodes, tasks: { t, finished, failed } });
      } catch {
        // the status line says what is wrong
      } finally {
        busy = false;
      }
    };
    void look();
    const unwatch = news.watch(look);
    return () => {
      stop.abort();
      unwatch();
    };
  }, []);
  return series;
}

/** One chart over all nodes: a line each, or their sum where there are many. */
export function lines(series: Series, name: string, labels: Map<string, string>): { times: number[]; lines: { name: string; values: (number | null)[] }[] } {
  const nodes = [...series.nodes];
  const step = 5; // seconds between samples: nodes are not in step, so points are put together by it
  const times = [...new Set(nodes.flatMap(([, node]) => node.t.map((time) => Math.round(time / step) * step)))].sort((a, b) => a - b);
  const at = new Map(times.map((time, index) => [time, index]));
  const shown = nodes.slice(0, 6).map(([id, node]) => {
    const values: (number | null)[] = times.map(() => null);
    node.t.forEach((time, index) => {
      values[at.get(Math.round(time / step) * step)!] = node.values[name]?.[index] ?? null;
    });
    return { name: labels.get(id) ?? id.slice(-6), values };
  });
  return { times, lines: shown };
}
