// A page that is one list: search, filters by state, the table, and a record's details at the side.
import { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { Json, useShared } from "./api";
import { InspectButtons, Target } from "./inspect";
import { List, Row, useList } from "./lists";
import { news } from "./live";
import { Chips, Dialog, Facts, Note, Search, State } from "./parts";
import { useQuery } from "./router";
import { Column, Table } from "./table";
import { bytes, clock, columnTitle, plain, resources } from "./words";

export type Get = (row: Row, column: string) => Json;

/** How to read a column of a row. */
export function getter(list: List): Get {
  const index = new Map(list.columns.map((name, at) => [name, at]));
  return (row, column) => {
    const at = index.get(column);
    return at === undefined ? null : row[at];
  };
}

interface Spec {
  id: string;
  title?: string;
  width: number;
  kind?: "state" | "bytes" | "time" | "resources" | "mono" | "number" | "process";
  show?: (row: Row, get: Get) => ComponentChildren;
  value?: (row: Row, get: Get) => unknown;
}

interface Props {
  name: string; // of the list
  label: string;
  specs: Spec[];
  chips?: string; // the column that is filtered by
  sort?: [string, boolean];
  empty: string;
  titleOf: (row: Row, get: Get) => string;
  target?: (row: Row, get: Get) => Target | null;
  more?: (row: Row, get: Get) => ComponentChildren;
  above?: (list: List, get: Get) => ComponentChildren;
}

export function Records(props: Props) {
  const { list, error } = useList(props.name);
  const [search, setSearch] = useQuery("q");
  const [chosen, setChosen] = useQuery(props.chips ?? "state");
  const [open, setOpen] = useState<string | null>(null);
  const [shown, setShown] = useState(0);
  const live = useShared(news)?.is_live ?? true;

  const columnsKey = list?.columns.join();
  const get = useMemo(() => (list ? getter(list) : () => null), [columnsKey]);
  const columns = useMemo<Column[]>(() => {
    return props.specs.map((spec) => {
      const value = (row: Row) => (spec.value ? spec.value(row, get) : get(row, spec.id));
      const made: Column = { id: spec.id, title: spec.title ?? columnTitle(spec.id), width: spec.width, value };
      if (spec.kind === "bytes" || spec.kind === "number" || spec.kind === "process") made.right = true;
      if (spec.kind === "mono") made.mono = true;
      if (spec.show) made.show = (row) => spec.show!(row, get);
      else if (spec.kind === "state") made.show = (row) => <State state={value(row) as string} />;
      else if (spec.kind === "process") made.show = (row) => String(value(row) ?? "");
      else if (spec.kind === "bytes") made.show = (row) => bytes(value(row) as number);
      else if (spec.kind === "time") made.show = (row) => clock(value(row) as number);
      else if (spec.kind === "resources") made.show = (row) => resources(value(row) as Record<string, number>);
      return made;
    });
  }, [columnsKey, props.name]);

  const counts = useMemo(() => {
    if (!list || !props.chips) return [];
    const found = new Map<string, number>();
    for (const row of list.rows.values()) {
      const state = String(get(row, props.chips) ?? "");
      if (state) found.set(state, (found.get(state) ?? 0) + 1);
    }
    return [...found].sort((a, b) => b[1] - a[1]);
  }, [list?.count, columnsKey]);

  const keep = useMemo(
    () => (chosen && props.chips ? (row: Row) => String(get(row, props.chips!)) === chosen : undefined),
    [chosen, columnsKey],
  );
  const keys = useMemo(() => new Map<Row, string>(list ? [...list.rows].map(([key, row]) => [row, key]) : []), [list?.count]);
  const opened = open !== null ? list?.rows.get(open) : undefined;

  return (
    <>
      {error && <Note kind="bad">{error}</Note>}
      {list?.missing && <Note kind="warn">Not everything is here: {list.missing}.</Note>}
      {list && list.total > list.rows.size && (
        <Note kind="info">
          These are the newest {list.rows.size.toLocaleString("en")} of {list.total.toLocaleString("en")}.
        </Note>
      )}
      {list && props.above?.(list, get)}
      <div class="tools">
        <Search value={search} onChange={setSearch} label={`Search ${props.label.toLowerCase()}`} {...(list ? { shown, total: list.rows.size } : {})} />
        {props.chips && counts.length > 0 && (
          <Chips label="Filter" chosen={chosen} counts={counts} onChoose={setChosen} />
        )}
      </div>
      {list ? (
        <Table
          label={props.label}
          columns={columns}
          rows={list.rows}
          version={list.count}
          search={search}
          {...(keep ? { keep } : {})}
          {...(props.sort ? { sort: props.sort } : {})}
          empty={props.empty}
          onCount={setShown}
          onOpen={(row) => setOpen(keys.get(row) ?? null)}
        />
      ) : (
        !error && <p class="muted loading">Asking the session…</p>
      )}
      {opened && list && (
        <Dialog title={props.titleOf(opened, get)} onClose={() => setOpen(null)}>
          {props.target && <InspectButtons target={props.target(opened, get)} live={live} />}
          {props.more?.(opened, get)}
          <Facts facts={list.columns.map((name) => [columnTitle(name), detail(name, get(opened, name))])} />
        </Dialog>
      )}
    </>
  );
}

function detail(name: string, value: Json): ComponentChildren {
  if (value === null || value === undefined || value === "") return null;
  if (name === "state" || name === "status" || name === "severity") return <State state={value} />;
  if (name.endsWith("_time_ms") || name === "start_time" || name === "end_time") return clock(value);
  if (name === "object_size") return bytes(value);
  if (name === "resources_total") return resources(value);
  if (name === "error_message" || name === "message") return <pre>{value}</pre>;
  if (name.endsWith("pid")) return String(value);
  if (typeof value === "object") return <pre>{JSON.stringify(value, null, 2)}</pre>;
  return plain(value);
}
