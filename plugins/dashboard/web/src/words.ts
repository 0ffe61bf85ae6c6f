// Numbers and times as people read them.
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "";
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : 1;
  return `${value < 0 ? "−" : ""}${size.toFixed(digits)} ${UNITS[unit]}`;
}

const whole = new Intl.NumberFormat("en");

export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return "";
  return Number.isInteger(value) ? whole.format(value) : value.toFixed(2).replace(/\.?0+$/, "");
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (value === 0) return "0";
  if (value < 0.001) return `${Math.max(1, Math.round(value * 1e6))} µs`;
  if (value < 1) return `${(value * 1e3).toFixed(value < 0.01 ? 1 : 0)} ms`;
  if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86400)} d ${Math.round((value % 86400) / 3600)} h`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

export function clock(milliseconds: number | null | undefined): string {
  if (!milliseconds) return "";
  const when = new Date(milliseconds);
  const time = `${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
  const today = new Date().toDateString() === when.toDateString();
  return today ? time : `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} ${time}`;
}

export function plain(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return count(value);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export function columnTitle(name: string): string {
  const text = name.replace(/_ms$/, "").replace(/_/g, " ").replace(/\bray /, "");
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/\bid\b/, "ID").replace(/\bip\b/, "IP").replace(/^Pid$/, "Process");
}

export function resources(value: Record<string, number> | null | undefined): string {
  if (!value) return "";
  return Object.entries(value)
    .map(([name, amount]) => `${name} ${/memory/.test(name) ? bytes(amount) : count(amount)}`)
    .join(", ");
}
