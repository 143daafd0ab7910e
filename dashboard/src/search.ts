// The language of the search: words like `queue:orders state:dead`, and what completes them. Pure.

import { STATES, type BulkFilter, type Task } from "./types";

export const FIELDS = ["queue", "state", "name", "tag", "group", "id", "error", "workflow"] as const;
type Field = (typeof FIELDS)[number];

export interface Search {
  filter: Partial<Record<Field, string>>;
  /** What could not be understood; empty where all was. */
  error: string;
}

const WORD = /(?:([a-z]+):)?(?:"([^"]*)"|(\S+))/g;
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function parseSearch(text: string): Search {
  const filter: Search["filter"] = {};
  let error = "";
  for (const [whole, prefix, quoted, bare] of text.matchAll(WORD)) {
    const value = quoted ?? bare ?? "";
    const field = prefix ?? (ID.test(value) ? "id" : "name");
    if (!(FIELDS as readonly string[]).includes(field)) error = `${field}: is no field; there are ${FIELDS.join(", ")}`;
    else if (field === "state" && !(STATES as readonly string[]).includes(value)) error = `${whole}: there is no such state`;
    else filter[field as Field] = value;
  }
  return { filter, error };
}

/** What a bulk call takes: ids are a list there. */
export const bulkFilter = ({ id, ...rest }: Search["filter"]): BulkFilter =>
  id === undefined ? rest : { ...rest, id: id.split(",") };

/** A value as it stands in a search. */
export const quoted = (value: string): string => (/\s/.test(value) ? `"${value}"` : value);

export const writeSearch = (filter: Search["filter"]): string =>
  FIELDS.filter((field) => filter[field])
    .map((field) => `${field}:${quoted(filter[field]!)}`)
    .join(" ");

/** The last values of each field that a page has shown: what completes a search without asking for it. */
const seen = new Map<Field, Set<string>>();
const SEEN_MAX = 500;

export function note(field: Field, value: string | null): void {
  if (!value) return;
  const values = seen.get(field) ?? new Set();
  seen.set(field, values);
  values.delete(value); // the latest is the last
  values.add(value);
  if (values.size > SEEN_MAX) values.delete(values.values().next().value!);
}

export function noteTasks(tasks: Pick<Task, "queue" | "name" | "group" | "tags" | "errors" | "workflow">[]): void {
  for (const task of tasks) {
    note("queue", task.queue);
    note("name", task.name);
    note("group", task.group);
    note("workflow", task.workflow);
    for (const tag of task.tags) note("tag", tag);
    for (const error of task.errors) note("error", error.type);
  }
}

/** What the last word of a search could become. */
export function completions(text: string): string[] {
  const last = lastWord(text);
  const [field = "", value] = last.split(":", 2);
  if (value === undefined) return FIELDS.filter((each) => each.startsWith(last)).map((each) => `${each}:`);
  const values = field === "state" ? [...STATES] : [...(seen.get(field as Field) ?? [])].reverse();
  const typed = value.replace(/^"/, "").toLowerCase();
  const starts = (each: string) => each.toLowerCase().startsWith(typed);
  return values
    .filter((each) => each.toLowerCase().includes(typed) && each !== value)
    .sort((a, b) => Number(starts(b)) - Number(starts(a)))
    .slice(0, 8)
    .map((each) => `${field}:${quoted(each)}`);
}

/** What stands behind the last space that is not within quotes. */
const lastWord = (text: string): string => /(?:[^\s"]|"[^"]*"?)*$/.exec(text)![0];

export const complete = (text: string, chosen: string): string =>
  text.slice(0, text.length - lastWord(text).length) + chosen;
