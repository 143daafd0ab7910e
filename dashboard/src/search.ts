// The language of the search: words like `queue:orders state:dead`, and what completes them. Pure.

import { STATES, type BulkFilter } from "./types";

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

export const writeSearch = (filter: Search["filter"]): string =>
  FIELDS.filter((field) => filter[field])
    .map((field) => `${field}:${/\s/.test(filter[field]!) ? `"${filter[field]}"` : filter[field]}`)
    .join(" ");

/** What the last word of a search could become. */
export function completions(text: string, known: Partial<Record<Field, string[]>>): string[] {
  const last = text.slice(text.lastIndexOf(" ") + 1);
  const [field = "", value] = last.split(":", 2);
  if (value === undefined) return FIELDS.filter((each) => each.startsWith(last)).map((each) => `${each}:`);
  const values = field === "state" ? [...STATES] : (known[field as Field] ?? []);
  return values
    .filter((each) => each.startsWith(value) && each !== value)
    .slice(0, 8)
    .map((each) => `${field}:${each}`);
}

export const complete = (text: string, chosen: string): string => text.slice(0, text.lastIndexOf(" ") + 1) + chosen;
