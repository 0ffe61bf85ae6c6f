// Light or dark: as the system says, until somebody chooses.
import { Shared } from "./api";

const KEY = "shoal-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function now(): "light" | "dark" {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "light" || chosen === "dark") return chosen;
  return system.matches ? "dark" : "light";
}

export const theme = new Shared<"light" | "dark">(now());

function apply(): void {
  document.documentElement.dataset["theme"] = theme.value;
}

theme.watch(apply);
system.addEventListener("change", () => {
  theme.value = now();
});
apply();

export function switchTheme(): void {
  const next = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem(KEY, next);
  theme.value = next;
}
