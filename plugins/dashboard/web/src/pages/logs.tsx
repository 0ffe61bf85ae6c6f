// Log files of every node: choose one, see its end, search in it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Json } from "../api";
import { useAsked } from "../live";
import { Note, Search, Title } from "../parts";
import { useQuery } from "../router";
import { bytes } from "../words";

export function Logs() {
  const { data: told, error } = useAsked<Json>("/api/logs", 3);
  const [file, setFile] = useQuery("file"); // node/name
  const [search, setSearch] = useQuery("q");
  const [lines, setLines] = useQuery("lines", "500");
  const [asked, setAsked] = useState(search);
  const [following, setFollowing] = useState(true);
  const pane = useRef<HTMLPreElement>(null);

  const files: Json[] = useMemo(() => (told?.files ?? []).filter((one: Json) => one.bytes > 0), [told]);
  const nodes = [...new Set(files.map((one) => one.node))];
  const chosen = files.find((one) => `${one.node}/${one.name}` === file) ?? (file ? null : files.find((one) => /^worker/.test(one.name)) ?? files[0]);
  const query = chosen && `/api/log?node=${encodeURIComponent(chosen.node)}&name=${encodeURIComponent(chosen.name)}&lines=${lines}&search=${encodeURIComponent(asked)}`;
  const { data: text, error: trouble } = useAsked<Json>(query ?? null, following ? 2 : 1e6);

  useEffect(() => {
    const later = setTimeout(() => setAsked(search), 250); // so that not every letter is asked for
    return () => clearTimeout(later);
  }, [search]);
  useEffect(() => {
    const element = pane.current;
    if (element && following) element.scrollTop = element.scrollHeight;
  }, [text, following]);

  return (
    <>
      <Title text="Logs" />
      {error && <Note kind="bad">{error}</Note>}
      <div class="logs">
        <div class="logs-files scroll card" tabIndex={0} role="region" aria-label="Log files">
          {nodes.map((node) => (
            <section key={node}>
              <h2>{node ? `Node ${node}` : "This folder"}</h2>
              <ul>
                {files
                  .filter((one) => one.node === node)
                  .map((one) => {
                    const id = `${one.node}/${one.name}`;
                    return (
                      <li key={id}>
                        <button type="button" aria-pressed={one === chosen} onClick={() => setFile(id)}>
                          <span>{one.name}</span> <span class="muted">{bytes(one.bytes)}</span>
                        </button>
                      </li>
                    );
                  })}
              </ul>
            </section>
          ))}
          {told && !files.length && <p class="muted">Nothing has been printed.</p>}
        </div>
        <div class="logs-text">
          <div class="tools">
            <Search value={search} onChange={setSearch} label="Search this log" />
            <label class="choose">
              Lines{" "}
              <select value={lines} onChange={(event) => setLines(event.currentTarget.value)}>
                {["100", "500", "2000", "10000"].map((one) => (
                  <option key={one}>{one}</option>
                ))}
              </select>
            </label>
            <button type="button" aria-pressed={following} onClick={() => setFollowing(!following)}>
              Follow
            </button>
          </div>
          {trouble && <Note kind="bad">{trouble}</Note>}
          {text && asked && (
            <p class="muted">
              {text.matches?.toLocaleString("en") ?? 0} lines hold it{text.searched < text.bytes ? `, in the last ${bytes(text.searched)} of ${bytes(text.bytes)}` : ""}.
            </p>
          )}
          <pre class="log card" ref={pane} tabIndex={0} aria-label={chosen ? `Log ${chosen.name}` : "Log"}>
            {text ? (text.lines.length ? text.lines.map((line: string, index: number) => <Line key={index} line={line} search={asked} />) : asked ? "No line holds it." : "It is empty.") : chosen ? "…" : "Choose a file."}
          </pre>
        </div>
      </div>
    </>
  );
}

function Line({ line, search }: { line: string; search: string }) {
  const at = search ? line.toLowerCase().indexOf(search.toLowerCase()) : -1;
  const kind = /\b(ERROR|CRITICAL|Traceback)\b/.test(line) ? "bad" : /\bWARNING\b/.test(line) ? "warn" : undefined;
  return (
    <span class={`line ${kind ?? ""}`}>
      {at < 0 ? (
        line
      ) : (
        <>
          {line.slice(0, at)}
          <mark>{line.slice(at, at + search.length)}</mark>
          {line.slice(at + search.length)}
        </>
      )}
      {"\n"}
    </span>
  );
}
