// Pages by the hash of the address, as in #/queues/orders?state=dead: the server knows one page only.

import { signal } from "@preact/signals";

export interface Route {
  parts: string[];
  query: URLSearchParams;
}

function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody typed a percent sign
  }
}

export const route = signal<Route>(parse(location.hash));
addEventListener("hashchange", () => (route.value = parse(location.hash)));

/** The address of a page: `to("queues", "orders")`. */
export const to = (...parts: string[]): string => `#/${parts.map(encodeURIComponent).join("/")}`;

/** The address of the tasks that a search finds. */
export const toTasks = (search: string): string => `#/tasks?q=${encodeURIComponent(search)}`;

export const go = (address: string): void => {
  location.hash = address;
};
