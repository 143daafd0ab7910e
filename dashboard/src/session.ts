// Who is signed in, and what that one may do. The server decides; this only keeps what would be refused
// from being shown.

import { signal } from "@preact/signals";
import type { Session } from "./types";

type Scope = "produce" | "consume" | "read" | "operate";

/** undefined: not asked yet; null: the server wants a token. */
export const session = signal<Session | null | undefined>(undefined);
/** Why one has to sign in (again). */
export const ended = signal("");

function patterns(scope: Scope): string[] {
  const scopes = session.value?.scopes ?? [];
  if (scopes.includes("admin")) return ["*"];
  return scopes
    .filter((each) => each === scope || each.startsWith(`${scope}:`))
    .map((each) => each.slice(scope.length + 1) || "*");
}

/** Whether there is a queue at all for which the scope is held. */
export const mayAny = (scope: Scope): boolean => patterns(scope).length > 0;

/** Whether the scope is held for every queue. */
export const mayAll = (scope: Scope): boolean => patterns(scope).includes("*");

/** Whether the scope is held for one queue. A star in a pattern stands for any characters. */
export const may = (scope: Scope, queue: string): boolean =>
  patterns(scope).some((pattern) => {
    const literal = pattern.split("*").map((part) => part.replace(/[.\\+?^${}()|[\]]/g, "\\$&"));
    return new RegExp(`^${literal.join(".*")}$`).test(queue);
  });

export const isAdmin = (): boolean => session.value?.scopes.includes("admin") ?? false;
