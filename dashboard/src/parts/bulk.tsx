// A change to many tasks: counted by a dry run first, and made when somebody has seen the count.

import { post } from "../api";
import { count, plural } from "../format";
import type { BulkAction, BulkFilter, BulkReply } from "../types";
import { ask, say } from "./talk";

const DONE: Record<BulkAction, string> = {
  retry: "to be tried again",
  cancel: "cancelled",
  kill: "killed",
  delete: "deleted",
};
const YES: Record<BulkAction, string> = { retry: "Retry", cancel: "Cancel", kill: "Kill", delete: "Delete" };

async function each(action: BulkAction, filters: BulkFilter[], dryRun: boolean): Promise<BulkReply> {
  const sum = { matched: 0, changed: 0 };
  for (const filter of filters) {
    const { matched, changed } = await post<BulkReply>("/v1/bulk", { action, filter, dry_run: dryRun });
    sum.matched += matched;
    sum.changed += changed;
  }
  return sum;
}

/** Changes what matches one of the filters. Returns whether something was changed. */
export async function bulk(action: BulkAction, filters: BulkFilter[], what: string): Promise<boolean> {
  try {
    const { matched } = await each(action, filters, true);
    if (!matched) {
      say(`There is nothing to ${action}: ${what}`);
      return false;
    }
    const yes = await ask({
      title: `${YES[action]} ${plural(matched, "task")}?`,
      body: <p>{what}</p>,
      yes: `${YES[action]} ${count(matched)}`,
      danger: action !== "retry",
    });
    if (!yes) return false;
    const done = await each(action, filters, false);
    say(`${count(done.changed)} of ${count(done.matched)} ${DONE[action]}`);
    return done.changed > 0;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
    return false;
  }
}
