// The stream of events: the server's figures every second, and what happens to queues, workers and the server.
// It tells as well whether the server is there. Tasks are not followed here: there may be thousands a second.

import { effect, signal } from "@preact/signals";
import { get, whoAmI, withQuery } from "./api";
import { mayAll, mayAny, session } from "./session";
import type { EventData, MetricsHistory, Stats } from "./types";

export interface Sample {
  at: number;
  in: number;
  out: number;
  failed: number;
}

const KEPT_MS = 600_000;
const NOTICES_MAX = 100;

export const stats = signal<Stats | null>(null);
export const samples = signal<Sample[]>([]);
/** Figures of a minute ago, to see what grows. */
export const minuteAgo = signal<Stats | null>(null);
export const notices = signal<EventData[]>([]);
/** Since when the server has not been heard of; null: it is there. */
export const lostSince = signal<number | null>(null);
/** Ticks once a second, in the server's time. */
export const now = signal(Date.now());
/** Ticks when queues or workers may have changed, so that lists are read anew at once. */
export const changed = signal(0);

let skewMs = 0; // of the server's clock against this one's
let source: EventSource | null = null;
let past: Stats[] = [];

setInterval(() => (now.value = Date.now() + skewMs), 1_000);

function take(told: Stats): void {
  skewMs = told.started_at + told.uptime_ms - Date.now();
  stats.value = told;
  if (past[0] && past[0].started_at !== told.started_at) past = []; // it counts from 0 again
  past = [...past, told].slice(-61);
  minuteAgo.value = past[0] ?? null;
}

function onStats(event: MessageEvent<string>): void {
  const told = JSON.parse(event.data) as Stats;
  take(told);
  const at = told.started_at + told.uptime_ms;
  samples.value = [...samples.value.filter((each) => each.at > at - KEPT_MS), { at, ...told.rates }];
}

/** The figures of now: the first that the stream brings may be a second away. */
async function readNow(): Promise<void> {
  const told = await get<Stats>("/v1/stats");
  if (session.value && !stats.value) take(told);
}

function onNotice(event: MessageEvent<string>): void {
  notices.value = [JSON.parse(event.data) as EventData, ...notices.value].slice(0, NOTICES_MAX);
  changed.value += 1;
}

/** Draws the last minutes from what the server has kept, before the first figures come. */
async function readPast(): Promise<void> {
  const series = "rate.in,rate.out,rate.failed";
  const { points } = await get<MetricsHistory>(withQuery("/v1/metrics/history", { range: "1h", series }));
  const from = (points.at(-1)?.at ?? 0) - KEPT_MS;
  const read = points
    .filter((point) => point.at > from)
    .map(({ at, values }) => ({
      at,
      in: values["rate.in"] ?? 0,
      out: values["rate.out"] ?? 0,
      failed: values["rate.failed"] ?? 0,
    }));
  const first = samples.value[0]?.at ?? Infinity;
  samples.value = [...read.filter((each) => each.at < first), ...samples.value];
}

function lost(): void {
  lostSince.value ??= Date.now();
}

function connect(): void {
  source?.close();
  source = null;
  if (!session.value || !mayAny("read")) return;
  const all = mayAll("read");
  const opened = new EventSource(
    withQuery("/v1/events", { stats: all || null, kind: all ? "queue,worker,server" : "queue", rate: 20 }),
  );
  source = opened;
  opened.onopen = () => {
    lostSince.value = null;
    changed.value += 1;
  };
  opened.addEventListener("stats", onStats as EventListener);
  for (const name of ["queue", "worker", "server"]) opened.addEventListener(name, onNotice as EventListener);
  opened.onerror = () => {
    lost();
    // The browser tries again by itself, but not after an answer that is an error.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => opened === source && void retry(), 2_000);
  };
}

/** Asks whether we are still known, and follows again. */
export async function retry(): Promise<void> {
  try {
    await whoAmI(); // which connects anew
  } catch {
    lost();
    setTimeout(() => lostSince.value !== null && void retry(), 2_000);
  }
}

effect(() => {
  if (session.value) {
    connect();
    if (!mayAll("read")) return;
    for (const read of [readNow, readPast]) void read().catch(() => undefined); // what the stream brings will do
  } else {
    source?.close();
    source = null;
    lostSince.value = null;
    stats.value = null;
    samples.value = [];
    notices.value = [];
  }
});
