// Charts over time, drawn by uPlot.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { useShared } from "./api";
import { theme } from "./theme";

// Steps of an axis of bytes: 1, 2, 5 of them would be odd numbers of MiB.
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);

function tickTime(tick: number, step: number): string {
  const when = new Date(tick * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = `${two(when.getHours())}:${two(when.getMinutes())}`;
  return step < 60 ? `${minutes}:${two(when.getSeconds())}` : minutes;
}

export interface Line {
  name: string;
  values: (number | null)[];
}

interface Props {
  title: string;
  times: number[];
  lines: Line[];
  show: (value: number) => string;
  most?: number; // top of the axis, where it is known
  binary?: boolean; // ticks at powers of two, for bytes
  seconds?: number; // width of the window
}

const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const dark = useShared(theme);
  const names = props.lines.map((line) => line.name).join("\u0001");

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: element.clientHeight,
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        legend: { show: false },
        scales: {
          x: { time: true },
          y: { range: (_plot, _low, high) => [0, props.most ?? Math.max(high * 1.15, 1e-9)] },
        },
        axes: [
          { ...axis, space: 80, size: 30, values: (_plot, ticks, _axis, _space, step) => ticks.map((tick) => tickTime(tick, step)) },
          {
            ...axis,
            size: 70,
            space: 30,
            values: (_plot, ticks) => ticks.map(props.show),
            ...(props.binary ? { incrs: POWERS } : {}),
          },
        ],
        series: [
          {},
          ...props.lines.map((line, index) => ({
            label: line.name,
            stroke: colour(COLOURS[index % COLOURS.length]!),
            fill: props.lines.length === 1 ? colour("--fill-1") : undefined,
            width: 1.75,
            // One value alone makes no line.
            points: { show: (plot: uPlot) => (plot.data[0]?.length ?? 0) < 3 },
          })),
        ] as uPlot.Series[],
      },
      [[], ...props.lines.map(() => [])] as unknown as uPlot.AlignedData,
      element,
    );
    plot.current = made;
    draw(made, props);
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, dark, props.most]);

  useEffect(() => {
    if (plot.current) draw(plot.current, props);
  });

  const last = props.lines.map((line) => `${line.name} ${props.show(lastOf(line.values))}`).join(", ");
  return (
    <figure class="chart">
      <figcaption>
        <h2>{props.title}</h2>
        <span class="chart-legend">
          {props.lines.map((line, index) => (
            <span key={line.name}>
              <i class={`swatch line-${(index % COLOURS.length) + 1}`} aria-hidden="true" />
              {line.name} <b>{props.show(lastOf(line.values))}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div class="chart-box" ref={box} role="img" aria-label={`${props.title}: ${last || "no values yet"}`} />
    </figure>
  );
}

function lastOf(values: (number | null)[]): number {
  for (let index = values.length - 1; index >= 0; index -= 1) {
    const value = values[index];
    if (value !== null && value !== undefined) return value;
  }
  return 0;
}

function draw(plot: uPlot, props: Props): void {
  plot.setData([props.times, ...props.lines.map((line) => line.values)] as uPlot.AlignedData, false);
  const end = props.times[props.times.length - 1] ?? Date.now() / 1000;
  const begin = Math.min(props.times[0] ?? end, end - 60);
  plot.setScale("x", { min: Math.max(begin, end - (props.seconds ?? 3600)), max: end });
}
