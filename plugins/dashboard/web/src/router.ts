// Which page: the path; what is searched and chosen there: the query, so that a link leads to the same view.
import { useEffect, useState } from "preact/hooks";
import { Shared } from "./api";

export const path = new Shared<string>(location.pathname.replace(/^\/+|\/+$/g, ""));

export function go(to: string): void {
  if (to === location.pathname + location.search) return;
  history.pushState(null, "", to);
  path.value = location.pathname.replace(/^\/+|\/+$/g, "");
  dispatchEvent(new Event("shoal:query"));
}

addEventListener("popstate", () => {
  path.value = location.pathname.replace(/^\/+|\/+$/g, "");
  dispatchEvent(new Event("shoal:query"));
});

/** One word of the query, and what changes it in place. */
export function useQuery(name: string, absent = ""): [string, (value: string) => void] {
  const read = () => new URLSearchParams(location.search).get(name) ?? absent;
  const [value, setValue] = useState(read);
  useEffect(() => {
    const onChange = () => setValue(read());
    onChange();
    addEventListener("shoal:query", onChange);
    return () => removeEventListener("shoal:query", onChange);
  }, [name]);
  return [
    value,
    (next) => {
      const query = new URLSearchParams(location.search);
      if (next === absent) query.delete(name);
      else query.set(name, next);
      const text = query.toString();
      history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
      setValue(next);
    },
  ];
}
