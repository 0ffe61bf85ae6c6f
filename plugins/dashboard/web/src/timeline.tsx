// What ran where and when: a lane for each process, drawn on a canvas, with zoom by wheel, keys and buttons.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useShared } from "./api";
import { useAsked } from "./live";
import { Note } from "./parts";
import { theme } from "./theme";
import { clock, seconds } from "./words";

interface Told {
  origin: number;
  lanes: { worker: string; node: string; pid: number | null; rows: number }[];
  names: string[];
  slices: [number, number, number, number, number, number, string][];
  more: number;
}

const LABEL = 150;
const ROW = 20;
const TOP = 26;
const MOST_ROWS = 8; // of a lane; calls that overlap more lie on each other

function rowHeight(rows: number): number {
  return rows > 2 ? 7 : ROW;
}

function laneHeight(rows: number): number {
  return Math.max(ROW, Math.min(rows, MOST_ROWS) * rowHeight(rows));
}

export function Timeline() {
  const [following, setFollowing] = useState(true);
  const { data, error } = useAsked<Told>("/api/timeline?limit=10000", following ? 2 : 1e6);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [view, setView] = useState<[number, number] | null>(null); // seconds after the origin
  const [hover, setHover] = useState<{ x: number; y: number; text: string } | null>(null);
  const [width, setWidth] = useState(800);
  const dark = useShared(theme);

  const end = useMemo(() => (data?.slices ?? []).reduce((most, one) => Math.max(most, one[4]), 0), [data]);
  const [from, to] = view ?? [0, Math.max(end, 1e-6)];
  const tops = useMemo(() => {
    let at = TOP;
    return (data?.lanes ?? []).map((lane) => {
      const top = at;
      at += laneHeight(lane.rows) + 8;
      return top;
    });
  }, [data]);
  const lanes = data?.lanes ?? [];
  const height = lanes.length ? tops[lanes.length - 1]! + laneHeight(lanes[lanes.length - 1]!.rows) + 12 : 80;

  useEffect(() => {
    const box = canvas.current?.parentElement;
    if (!box) return;
    const observer = new ResizeObserver(() => setWidth(box.clientWidth));
    observer.observe(box);
    return () => observer.disconnect();
  }, [data === null]);

  useEffect(() => {
    const element = canvas.current;
    if (!element || !data) return;
    const scale = devicePixelRatio || 1;
    element.width = width * scale;
    element.height = height * scale;
    const pen = element.getContext("2d")!;
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const colours = [1, 3, 5, 4, 6].map((index) => colour(`--line-${index}`));
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const room = width - LABEL;
    const x = (time: number) => LABEL + ((time - from) / (to - from)) * room;
    const step = niceStep((to - from) / Math.max(1, room / 110));
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      pen.strokeStyle = colour("--grid");
      pen.beginPath();
      pen.moveTo(x(time), TOP - 6);
      pen.lineTo(x(time), height);
      pen.stroke();
      pen.fillStyle = colour("--muted");
      pen.fillText(time === 0 ? "0" : seconds(time), x(time) + 3, 12);
    }
    data.lanes.forEach((lane, index) => {
      pen.fillStyle = colour("--muted");
      pen.fillText(`process ${lane.pid ?? lane.worker.slice(-6)}`, 8, tops[index]! + ROW / 2, LABEL - 16);
    });
    pen.save();
    pen.beginPath();
    pen.rect(LABEL, 0, room, height);
    pen.clip();
    const bad = colour("--bad");
    for (const [lane, row, name, begin, over, failed] of data.slices) {
      if (over < from || begin > to) continue;
      const left = x(begin);
      const wide = Math.max(1, x(over) - left);
      const tall = rowHeight(lanes[lane]!.rows);
      const top = tops[lane]! + Math.min(row, MOST_ROWS - 1) * tall;
      pen.fillStyle = failed ? bad : colours[name % colours.length]!;
      pen.fillRect(left, top, wide > 3 ? wide - 1 : wide, tall - (tall > 10 ? 3 : 1));
      if (wide > 40 && tall > 10) {
        pen.fillStyle = colour("--on-line");
        pen.fillText(data.names[name]!, Math.max(left, LABEL) + 4, top + tall / 2 - 1, wide - 8);
      }
    }
    pen.restore();
  }, [data, from, to, width, height, dark]);

  const zoom = (factor: number, middle = (from + to) / 2) => {
    const span = Math.min(Math.max((to - from) * factor, 1e-5), Math.max(end, 1e-5) * 1.05);
    const share = (middle - from) / (to - from);
    const begin = Math.max(-0.02 * end, middle - span * share);
    setView([begin, begin + span]);
    setFollowing(false);
  };
  const pan = (share: number) => {
    const by = (to - from) * share;
    const begin = Math.max(-0.02 * end, Math.min(from + by, end - (to - from) * 0.1));
    setView([begin, begin + (to - from)]);
    setFollowing(false);
  };
  const all = () => {
    setView(null);
    setFollowing(true);
  };

  const over = (event: MouseEvent) => {
    if (!data || !canvas.current) return;
    const box = canvas.current.getBoundingClientRect();
    const [mx, my] = [event.clientX - box.left, event.clientY - box.top];
    const time = from + ((mx - LABEL) / (width - LABEL)) * (to - from);
    const near = ((to - from) / (width - LABEL)) * 1.5;
    for (let index = data.slices.length - 1; index >= 0; index -= 1) {
      const [lane, row, name, begin, stop, failed] = data.slices[index]!;
      const tall = rowHeight(lanes[lane]!.rows);
      const top = tops[lane]! + Math.min(row, MOST_ROWS - 1) * tall;
      if (my >= top && my <= top + tall && time >= begin - near && time <= stop + near) {
        const text = `${data.names[name]}: ${seconds(stop - begin)}${failed ? ", failed" : ""}, at ${clock((data.origin + begin) * 1000)}`;
        setHover({ x: Math.min(mx, width - 260), y: my + 16, text });
        return;
      }
    }
    setHover(null);
  };

  const counted = data?.slices.length ?? 0;
  return (
    <>
      {error && <Note kind="bad">{error}</Note>}
      {data && data.more > 0 && <Note kind="info">These are the newest {counted.toLocaleString("en")} calls; {data.more.toLocaleString("en")} older ones are in `shoal timeline`.</Note>}
      <div class="tools">
        <div class="buttons">
          <button type="button" onClick={() => zoom(0.5)}>
            + Closer
          </button>
          <button type="button" onClick={() => zoom(2)}>
            − Farther
          </button>
          <button type="button" onClick={() => pan(-0.25)} aria-label="Earlier">
            ←
          </button>
          <button type="button" onClick={() => pan(0.25)} aria-label="Later">
            →
          </button>
          <button type="button" aria-pressed={following} onClick={all}>
            All
          </button>
        </div>
        <span class="muted">Ctrl and the wheel, or + and −, come closer; arrows move.</span>
      </div>
      {data && !counted && <p class="muted">Nothing has run yet.</p>}
      {data && counted > 0 && (
        <div
          class="timeline card"
          tabIndex={0}
          role="img"
          aria-label={`Timeline of ${counted} calls on ${data.lanes.length} processes over ${seconds(end)}; the list of tasks has them as text`}
          onKeyDown={(event) => {
            const moves: Record<string, () => void> = {
              "+": () => zoom(0.5),
              "-": () => zoom(2),
              ArrowLeft: () => pan(-0.25),
              ArrowRight: () => pan(0.25),
              "0": all,
            };
            const move = moves[event.key];
            if (move) {
              move();
              event.preventDefault();
            }
          }}
          onWheel={(event) => {
            if (!event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            const box = canvas.current!.getBoundingClientRect();
            zoom(event.deltaY > 0 ? 1.25 : 0.8, from + ((event.clientX - box.left - LABEL) / (width - LABEL)) * (to - from));
          }}
          onMouseMove={over}
          onMouseLeave={() => setHover(null)}
        >
          <canvas ref={canvas} style={{ width: `${width}px`, height: `${height}px` }} />
          {hover && (
            <div class="tip" style={{ left: `${hover.x}px`, top: `${hover.y}px` }}>
              {hover.text}
            </div>
          )}
        </div>
      )}
    </>
  );
}

function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  for (const factor of [1, 2, 5, 10]) if (power * factor >= least) return power * factor;
  return power * 10;
}
