// The frame: navigation, keyboard, and the page that the path names.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { login, logOut, useShared } from "./api";
import { news, paused, trouble } from "./live";
import { Login, useBegin } from "./login";
import { Dialog, Empty } from "./parts";
import { go, path } from "./router";
import { switchTheme, theme } from "./theme";
import { Actors, Groups, Workers } from "./pages/processes";
import { Events } from "./pages/events";
import { Jobs } from "./pages/jobs";
import { Library } from "./pages/library";
import { Logs } from "./pages/logs";
import { Nodes } from "./pages/nodes";
import { Objects } from "./pages/objects";
import { Overview } from "./pages/overview";
import { Tasks } from "./pages/tasks";

interface Page {
  path: string;
  title: string;
  key: string;
  group: string;
  show: () => preact.JSX.Element;
}

const PAGES: Page[] = [
  { path: "", title: "Overview", key: "o", group: "", show: () => <Overview /> },
  { path: "nodes", title: "Nodes", key: "n", group: "Cluster", show: () => <Nodes /> },
  { path: "workers", title: "Workers", key: "w", group: "Cluster", show: () => <Workers /> },
  { path: "actors", title: "Actors", key: "a", group: "Cluster", show: () => <Actors /> },
  { path: "tasks", title: "Tasks", key: "t", group: "Cluster", show: () => <Tasks /> },
  { path: "objects", title: "Objects", key: "m", group: "Cluster", show: () => <Objects /> },
  { path: "groups", title: "Placement groups", key: "p", group: "Cluster", show: () => <Groups /> },
  { path: "jobs", title: "Jobs", key: "j", group: "Programs", show: () => <Jobs /> },
  { path: "serve", title: "Serve", key: "s", group: "Programs", show: () => <Library key="serve" name="serve" title="Serve" /> },
  { path: "train", title: "Train", key: "r", group: "Programs", show: () => <Library key="train" name="train" title="Train" /> },
  { path: "tune", title: "Tune", key: "u", group: "Programs", show: () => <Library key="tune" name="tune" title="Tune" /> },
  { path: "data", title: "Data", key: "d", group: "Programs", show: () => <Library key="data" name="data" title="Data" /> },
  { path: "events", title: "Events", key: "e", group: "Records", show: () => <Events /> },
  { path: "logs", title: "Logs", key: "l", group: "Records", show: () => <Logs /> },
];

function Shell() {
  const where = useShared(path);
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
  const dark = useShared(theme);
  const stopped = useShared(paused);
  const problem = useShared(trouble);
  const now = useShared(news);
  const page = PAGES.find((one) => one.path === where);

  useEffect(() => {
    document.title = page ? (page.path ? `${page.title} · Shoal` : "Shoal") : "Not found · Shoal";
    setMenu(false);
  }, [where]);

  useEffect(() => {
    let going = 0; // until when a letter after g names a page
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable;
      if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const key = event.key;
      if (performance.now() < going) {
        going = 0;
        const found = PAGES.find((one) => one.key === key);
        if (found) {
          go(`/${found.path}`);
          event.preventDefault();
        }
        return;
      }
      if (key === "g") going = performance.now() + 1500;
      else if (key === "/") document.getElementById("search")?.focus();
      else if (key === "j" || key === "k") dispatchEvent(new CustomEvent("shoal:move", { detail: key === "j" ? 1 : -1 }));
      else if (key === "Enter" && !/^(BUTTON|A|SUMMARY)$/.test(target.tagName)) dispatchEvent(new Event("shoal:open"));
      else if (key === "?") setHelp(true);
      else if (key === "T") switchTheme();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  const groups = [...new Set(PAGES.map((one) => one.group))];
  return (
    <div class={`shell${menu ? " is-open" : ""}`}>
      <a class="skip" href="#page">
        Skip to the page
      </a>
      <nav aria-label="Pages">
        <div class="brand">
          <img src="/assets/icon.svg" alt="" width="28" height="28" />
          <b>Shoal</b>
          <button type="button" class="quiet menu" aria-expanded={menu} aria-label="Menu" onClick={() => setMenu(!menu)}>
            ☰
          </button>
        </div>
        <div class="links">
          {groups.map((group) => (
            <div key={group} class="links-group">
              {group && <h2>{group}</h2>}
              {PAGES.filter((one) => one.group === group).map((one) => (
                <a
                  key={one.path}
                  href={`/${one.path}`}
                  aria-current={one.path === where ? "page" : undefined}
                  onClick={(event) => {
                    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
                    event.preventDefault();
                    go(`/${one.path}`);
                  }}
                >
                  {one.title}
                  <kbd aria-hidden="true">g {one.key}</kbd>
                </a>
              ))}
            </div>
          ))}
          <div class="links-end">
            <button type="button" class="quiet" onClick={switchTheme} aria-label={`Switch to ${dark === "dark" ? "light" : "dark"} colours`}>
              {dark === "dark" ? "☀" : "☾"} {dark === "dark" ? "Light" : "Dark"}
            </button>
            <button type="button" class="quiet" onClick={() => setHelp(true)}>
              ? Keys
            </button>
            <button type="button" class="quiet" onClick={() => void logOut()}>
              ⎋ Log out
            </button>
          </div>
        </div>
      </nav>
      <main id="page" tabIndex={-1}>
        <div class="status" role="status">
          <span class="session" title={now?.session}>
            {now?.session ?? "…"}
          </span>
          {problem ? (
            <span class="state is-bad">{problem}</span>
          ) : now && !now.is_live ? (
            <span class="state is-warn">has ended: read only</span>
          ) : stopped ? (
            <span class="state is-warn">paused</span>
          ) : (
            <span class="state is-good">{now ? "live" : "connecting"}</span>
          )}
          <button type="button" class="quiet" aria-pressed={stopped} onClick={() => (paused.value = !stopped)}>
            {stopped ? "▶ Go on" : "❙❙ Pause"}
          </button>
        </div>
        {page ? (
          page.show()
        ) : (
          <Empty title="There is no such page">
            <p>
              Begin at the <a href="/">overview</a>.
            </p>
          </Empty>
        )}
      </main>
      {help && (
        <Dialog title="Keys" onClose={() => setHelp(false)}>
          <dl class="keys">
            {(
              [
                ["/", "search this page"],
                ["j  k", "next and previous row"],
                ["Enter", "open the row"],
                ["Esc", "close, or leave the search"],
                ["T", "light or dark"],
                ["?", "these keys"],
                ...PAGES.map((one) => [`g ${one.key}`, one.title]),
              ] as [string, string][]
            ).map(([key, text]) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{text}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
    </div>
  );
}

function App() {
  const problem = useBegin();
  const { state } = useShared(login);
  if (state === "out") return <Login />;
  if (state === "in") return <Shell />;
  return (
    <main class="login">
      <p role="status">{problem || "Connecting…"}</p>
    </main>
  );
}

render(<App />, document.getElementById("app")!);
