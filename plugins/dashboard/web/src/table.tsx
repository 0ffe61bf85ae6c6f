// A table of which only the rows that are seen are drawn, so that twenty thousand cost what forty do.
import { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Row } from "./lists";
import { plain } from "./words";

export interface Column {
  id: string;
  title: string;
  width: number; // pixels; the last one takes what is left
  show?: (row: Row) => ComponentChildren;
  value: (row: Row) => unknown; // that it is sorted by and searched for
  right?: boolean;
  mono?: boolean;
}

interface Props {
  label: string;
  columns: Column[];
  rows: Map<string, Row>;
  version: number;
  sort?: [string, boolean]; // column and whether the largest come first
  search: string;
  keep?: (row: Row) => boolean;
  onOpen?: (row: Row) => void;
  onCount?: (shown: number) => void;
  empty: string;
}

const HEIGHT = 34;
const SPARE = 8; // rows drawn beyond what is seen
const texts = new WeakMap<Row, string>();

function textOf(row: Row): string {
  let text = texts.get(row);
  if (text === undefined) {
    text = row.map((cell) => (cell === null ? "" : typeof cell === "object" ? JSON.stringify(cell) : String(cell)))
      .join("\u0001")
      .toLowerCase();
    texts.set(row, text);
  }
  return text;
}

/** Words of a search must all be there; `column:word` must be in that column. */
function matcher(search: string, columns: Column[]): ((row: Row) => boolean) | null {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const tests = words.map((word) => {
    const [name, ...rest] = word.split(":");
    const column = columns.find((one) => one.title.toLowerCase().replace(/\s/g, "") === name || one.id === name);
    if (rest.length && column) {
      const wanted = rest.join(":");
      return (row: Row) => plain(column.value(row)).toLowerCase().includes(wanted);
    }
    return (row: Row) => textOf(row).includes(word);
  });
  return (row) => tests.every((test) => test(row));
}

function compare(one: unknown, other: unknown): number {
  if (one === other) return 0;
  if (one === null || one === undefined || one === "") return 1; // what is not known comes last
  if (other === null || other === undefined || other === "") return -1;
  if (typeof one === "number" && typeof other === "number") return one - other;
  const [left, right] = [plain(one), plain(other)];
  return left < right ? -1 : left > right ? 1 : 0;
}

export function Table(props: Props) {
  const { columns, rows, version, search, keep, onOpen } = props;
  const [sort, setSort] = useState<[string, boolean] | null>(props.sort ?? null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [cursor, setCursor] = useState(-1);
  const box = useRef<HTMLDivElement>(null);

  const shown = useMemo(() => {
    const fits = matcher(search, columns);
    const found: Row[] = [];
    for (const row of rows.values()) if ((!keep || keep(row)) && (!fits || fits(row))) found.push(row);
    const by = sort && columns.find((one) => one.id === sort[0]);
    if (sort && by) {
      const keyed = found.map((row, index) => ({ row, index, key: by.value(row) }));
      keyed.sort((a, b) => {
        const order = compare(a.key, b.key);
        const known = a.key !== null && a.key !== "" && b.key !== null && b.key !== "";
        return (sort[1] && known ? -order : order) || a.index - b.index;
      });
      return keyed.map((one) => one.row);
    }
    return found;
  }, [rows, version, search, keep, sort, columns]);

  useEffect(() => props.onCount?.(shown.length), [shown.length]);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const move = (step: number) => {
    const next = Math.max(0, Math.min(shown.length - 1, cursor + step));
    setCursor(next);
    const element = box.current;
    if (!element || !shown.length) return;
    const at = next * HEIGHT;
    if (at < element.scrollTop) element.scrollTop = at;
    if (at + 2 * HEIGHT > element.scrollTop + element.clientHeight) {
      element.scrollTop = at + 2 * HEIGHT - element.clientHeight;
    }
  };
  const current = useRef({ move, open: () => {} });
  current.current = {
    move,
    open: () => {
      const row = shown[cursor];
      if (row) onOpen?.(row);
    },
  };
  useEffect(() => {
    const onMove = (event: Event) => current.current.move((event as CustomEvent<number>).detail);
    const onEnter = () => current.current.open();
    addEventListener("shoal:move", onMove);
    addEventListener("shoal:open", onEnter);
    return () => {
      removeEventListener("shoal:move", onMove);
      removeEventListener("shoal:open", onEnter);
    };
  }, []);

  const template = columns
    .map((one, index) => (index === columns.length - 1 ? `minmax(${one.width}px, 1fr)` : `${one.width}px`))
    .join(" ");
  const least = columns.reduce((sum, one) => sum + one.width, 0);
  const first = Math.max(0, Math.floor(top / HEIGHT) - SPARE);
  const last = Math.min(shown.length, Math.ceil((top + height) / HEIGHT) + SPARE);

  const sortBy = (id: string) => setSort((now) => (now && now[0] === id ? [id, !now[1]] : [id, false]));

  return (
    <div
      class="table"
      ref={box}
      style={{ "--rows": `${Math.max(3, shown.length) * HEIGHT + HEIGHT + 20}px` }}
      tabIndex={0}
      role="grid"
      aria-label={props.label}
      aria-rowcount={shown.length + 1}
      aria-colcount={columns.length}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={(event) => {
        if (event.key === "ArrowDown") move(1);
        else if (event.key === "ArrowUp") move(-1);
        else return;
        event.preventDefault();
      }}
    >
      <div class="table-head" role="row" aria-rowindex={1} style={{ gridTemplateColumns: template, minWidth: `${least}px` }}>
        {columns.map((one) => (
          <div
            key={one.id}
            role="columnheader"
            class={one.right ? "right" : ""}
            aria-sort={sort?.[0] === one.id ? (sort[1] ? "descending" : "ascending") : "none"}
          >
            <button type="button" onClick={() => sortBy(one.id)}>
              {one.title}
              <span aria-hidden="true">{sort?.[0] === one.id ? (sort[1] ? " ↓" : " ↑") : ""}</span>
            </button>
          </div>
        ))}
      </div>
      <div class="table-body" role="rowgroup" style={{ height: `${Math.max(1, shown.length) * HEIGHT}px`, minWidth: `${least}px` }}>
        {shown.slice(first, last).map((row, offset) => {
          const index = first + offset;
          return (
            <div
              key={index}
              role="row"
              aria-rowindex={index + 2}
              aria-selected={index === cursor}
              class={`table-row${index === cursor ? " is-current" : ""}${onOpen ? " is-link" : ""}`}
              style={{ gridTemplateColumns: template, transform: `translateY(${index * HEIGHT}px)` }}
              onClick={() => {
                setCursor(index);
                onOpen?.(row);
              }}
            >
              {columns.map((one) => {
                const content = one.show ? one.show(row) : plain(one.value(row));
                const title = typeof content === "string" && content.length > 12 ? content : undefined;
                return (
                  <div key={one.id} role="gridcell" title={title} class={`${one.right ? "right" : ""}${one.mono ? " mono" : ""}`}>
                    {content}
                  </div>
                );
              })}
            </div>
          );
        })}
        {!shown.length && (
          <div class="table-empty" role="row">
            <div role="gridcell">{rows.size ? "Nothing fits the search and the filters." : props.empty}</div>
          </div>
        )}
      </div>
    </div>
  );
}
