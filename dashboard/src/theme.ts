// Light or dark: as the system says, until somebody chooses.

import { effect, signal } from "@preact/signals";

const KEY = "tqx-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const chosen = signal(localStorage.getItem(KEY));
const system = signal(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => (system.value = dark.matches ? "dark" : "light"));

export const theme = signal("light");
effect(() => {
  theme.value = chosen.value ?? system.value;
  document.documentElement.dataset.theme = theme.value;
});

export function switchTheme(): void {
  const next = theme.value === "dark" ? "light" : "dark";
  // What the system says anyway need not be remembered.
  if (next === system.value) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, next);
  chosen.value = next === system.value ? null : next;
}
