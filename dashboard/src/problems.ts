// What is wrong, worst first, from the figures that the server tells. Pure.

import { bytes, count, duration, line, plural } from "./format";
import { to, toTasks } from "./router";
import type { DeadGroup, EventData, Queue, Stats, Worker } from "./types";

export interface Finding {
  key: string;
  level: "bad" | "warn" | "note";
  title: string;
  detail: string;
  href: string;
  /** How many it stands for, where it is more than one: many are alike. */
  count?: number;
  /** The queue that is to be resumed, where that would mend it. */
  resume?: string;
}

export interface Known {
  now: number;
  stats: Stats | null;
  minuteAgo: Stats | null;
  notices: EventData[];
  queues: Queue[];
  /** null: one may not see them. */
  workers: Worker[] | null;
  dead: DeadGroup[];
}

const STARVED_MS = 20_000; // without anybody who takes
const BEHIND_MS = 60_000;
const SILENT_MS = 45_000; // a worker polls at least every 20 s or so
const RECENT_MS = 900_000; // of a dead letter
const DISK_LOW = 0.1;
const DISK_OUT = 0.03;
const MEMORY_OUT = 0.05;
const FAILING = 0.2;
const FOLDED_ABOVE = 5;
const SHOWN_OF_MANY = 3;
const MORE: Record<string, (count: string) => string> = {
  paused: (count) => `${count} more queues are paused`,
  starved: (count) => `Nobody takes from ${count} more queues`,
  behind: (count) => `${count} more queues are behind`,
  failing: (count) => `${count} more queues fail`,
  full: (count) => `${count} more queues are full, or nearly so`,
  silent: (count) => `${count} more workers are gone`,
};
const RANK = { bad: 0, warn: 1, note: 2 };

export function findings(known: Known): Finding[] {
  const age = (queue: Queue) => queue.oldest_ready_age_ms ?? -1;
  const queues = [...known.queues].sort((a, b) => age(b) - age(a));
  const found = [
    ...ofServer(known),
    ...queues.flatMap((queue) => ofQueue(queue, known)),
    ...ofDead(known),
    ...ofWorkers(known),
  ];
  return folded(found).sort((a, b) => RANK[a.level] - RANK[b.level]);
}

/** Of many that are alike the first few, and one that says how many more there are. */
function folded(found: Finding[]): Finding[] {
  const alike = new Map<string, Finding[]>();
  for (const each of found) {
    const kind = `${each.key.split(" ", 1)[0]} ${each.level}`;
    alike.set(kind, [...(alike.get(kind) ?? []), each]);
  }
  return [...alike].flatMap(([kind, all]) => {
    const { level, href } = all[0]!;
    const more = MORE[kind.split(" ", 1)[0]!];
    if (!more || all.length <= FOLDED_ABOVE) return all;
    const left = all.length - SHOWN_OF_MANY;
    const page = to(href.startsWith(to("workers")) ? "workers" : "queues");
    const rest: Finding = { key: `more ${kind}`, level, title: more(count(left)), detail: "", href: page, count: left };
    return [...all.slice(0, SHOWN_OF_MANY), rest];
  });
}

function ofServer({ stats, minuteAgo, notices }: Known): Finding[] {
  if (!stats) return [];
  const found: Finding[] = [];
  const href = to("metrics");
  const grown = (name: string) => (minuteAgo ? (stats.totals[name] ?? 0) - (minuteAgo.totals[name] ?? 0) : 0);
  const add = (key: string, level: Finding["level"], title: string, detail: string) =>
    found.push({ key, level, title, detail, href });

  const disk = notices.find((each) => each.change === "disk_full" || each.change === "disk_ok");
  const free = (stats.host.disk_free_bytes ?? 1) / (stats.host.disk_total_bytes ?? 1);
  if (disk?.change === "disk_full") add("disk", "bad", "The disk is full", "Nothing new is taken until there is room.");
  else if (free < DISK_LOW) {
    const left = `${bytes(stats.host.disk_free_bytes ?? 0)} left, ${(free * 100).toFixed(1)} %`;
    add("disk", free < DISK_OUT ? "bad" : "warn", "The disk is filling up", left);
  }
  const load = notices.find((each) => each.change === "overloaded" || each.change === "calm");
  const shed = grown("shed");
  if (load?.change === "overloaded" || shed > 0)
    add("overload", "bad", "The server is overloaded", `${plural(shed, "request")} sent away in the last minute`);
  const failures = grown("storage_failures");
  if (failures > 0) add("storage", "bad", "The store fails", `${plural(failures, "write")} failed in the last minute`);
  const memory = (stats.host.memory_available_bytes ?? 1) / (stats.host.memory_total_bytes ?? 1);
  if (memory < MEMORY_OUT)
    add("memory", "bad", "Memory is nearly used up", `${bytes(stats.host.memory_available_bytes ?? 0)} left`);
  const leases = grown("expired_leases");
  if (leases > 0)
    found.push({
      key: "leases",
      level: "warn",
      title: "Leases run out",
      detail: `${plural(leases, "attempt")} in the last minute: a worker died, or is stuck`,
      href: to("workers"),
    });
  return found;
}

function ofQueue(queue: Queue, { workers }: Known): Finding[] {
  const found: Finding[] = [];
  const { ready, running, retrying, scheduled, blocked } = queue.counts;
  const age = queue.oldest_ready_age_ms ?? 0;
  const href = to("queues", queue.name);
  const add = (what: string, level: Finding["level"], title: string, detail: string, resume?: string) =>
    found.push({ key: `${what} ${queue.name}`, level, title, detail, href, ...(resume && { resume }) });

  const waiting = `${plural(ready, "task")} waiting, the oldest for ${duration(age)}`;
  const served = workers?.some((each) => each.queues.includes(queue.name) && !each.quiet && !each.stopping);
  if (queue.paused && ready > 0) add("paused", "bad", `${queue.name} is paused`, waiting, queue.name);
  else if (queue.paused) add("paused", "note", `${queue.name} is paused`, "nothing waits in it", queue.name);
  else if (ready > 0 && age > STARVED_MS && !running && !queue.rates.out && !served)
    add("starved", "bad", `Nobody takes from ${queue.name}`, waiting);
  else if (ready > 0 && age > BEHIND_MS) add("behind", "warn", `${queue.name} is behind`, waiting);
  const ends = queue.rates.out + queue.rates.failed;
  if (queue.rates.failed > 0 && queue.rates.failed / ends > FAILING) {
    const share = Math.round((queue.rates.failed / ends) * 100);
    found.push({
      key: `failing ${queue.name}`,
      level: "warn",
      title: `${queue.name} fails`,
      detail: `${share} % of attempts in the last 10 s; ${plural(retrying, "task")} to be retried`,
      href: retrying ? toTasks(`queue:${queue.name} state:retrying`) : href,
    });
  }
  const held = ready + retrying + scheduled + blocked;
  if (queue.max_tasks !== null && held >= queue.max_tasks * 0.9) {
    const full = held >= queue.max_tasks;
    const title = full ? `${queue.name} is full` : `${queue.name} is nearly full`;
    add("full", full ? "bad" : "warn", title, `${count(held)} of ${count(queue.max_tasks)} tasks`);
  }
  return found;
}

function ofDead({ dead, now }: Known): Finding[] {
  return dead.slice(0, 5).map((group) => {
    const recent = now - group.latest_at < RECENT_MS;
    return {
      key: `dead ${group.queue} ${group.name} ${group.error}`,
      level: recent ? "bad" : "note",
      title: `${plural(group.count, "dead letter")} in ${group.queue}`,
      detail: `${group.name ? `${group.name}: ` : ""}${line(`${group.error} ${group.message}`, 90)}; the latest ${
        duration(Math.max(1_000, now - group.latest_at))
      } ago`,
      href: to("dead"),
    };
  });
}

function ofWorkers({ workers, now, queues }: Known): Finding[] {
  const silent = (workers ?? [])
    .filter((each) => now - each.last_seen_at > SILENT_MS)
    .map((each): Finding => {
      const held = each.running.length;
      return {
        key: `silent ${each.name}`,
        level: held ? "bad" : "note",
        title: `${each.name} is gone`,
        detail: `not heard of for ${duration(now - each.last_seen_at)}${held ? `; holds ${plural(held, "task")}` : ""}`,
        href: to("workers"),
      };
    });
  const waits = queues.some((queue) => queue.counts.ready > 0 && !queue.paused);
  const none = workers?.length === 0 && waits;
  if (!none) return silent;
  const detail = "and tasks are waiting";
  return [{ key: "workers", level: "bad", title: "There are no workers", detail, href: to("workers") }];
}
