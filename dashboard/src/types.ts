// What the server answers, as far as this page looks at it: the fields of src/taskqueuex/commands/.
// Times are Unix milliseconds.

export const STATES = [
  "scheduled", "blocked", "ready", "running", "retrying", "completed", "cancelled", "expired", "dead",
] as const;
export type StateName = (typeof STATES)[number];
export type Counts = Record<StateName, number>;
export type Json = unknown;

export interface Problem {
  title: string;
  status: number;
  detail?: string;
  code: string;
  outcome: "not_applied" | "unknown";
  errors?: { field: string; message: string }[];
}

export interface Session {
  principal: { id: string; name: string; kind: "anyone" | "token" | "certificate" | "local" };
  scopes: string[];
  csrf_token: string | null;
  expires_at: number | null;
}

export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
  count: number;
}

export interface Stats {
  version: string;
  started_at: number;
  uptime_ms: number;
  queues: number;
  counts: Counts;
  totals: Record<string, number>;
  rates: Record<"in" | "out" | "failed", number>;
  latency_ms: Record<"wait" | "run" | "request" | "turn" | "commit" | "fsync" | "loop_lag", Percentiles>;
  connections: number;
  waiters: number;
  storage: Record<string, number | string>;
  process: Record<string, number>;
  host: Record<string, number>;
}

export interface Backoff {
  base_ms: number;
  factor: number;
  max_ms: number;
  jitter: number;
}

export interface QueueSettings {
  discipline: "fifo" | "lifo" | "priority" | "round_robin";
  partitions: number;
  max_tasks: number | null;
  overflow: "reject" | "drop_oldest";
  lease_ms: number;
  max_attempts: number;
  backoff: Backoff;
  result_ttl_ms: number;
  dead_ttl_ms: number;
  rate_limit: { per_second: number; burst?: number | null } | null;
  max_running: number | null;
  max_running_per_group: number | null;
  ordered_groups: boolean;
  durability: "durable" | "relaxed" | "memory";
  with_parents: boolean;
}

export interface Queue extends QueueSettings {
  name: string;
  paused: boolean;
  resorting: boolean;
  counts: Counts;
  oldest_ready_age_ms: number | null;
  rates: Record<"in" | "out" | "failed", number>;
  wait_ms: Percentiles;
  run_ms: Percentiles;
  created_at: number;
}

export interface TaskError {
  at: number;
  attempt: number;
  type: string;
  message: string;
  traceback: string;
  worker: string;
}

export interface Task {
  id: string;
  queue: string;
  name: string;
  state: StateName;
  priority: number;
  group: string | null;
  attempt: number;
  failures: number;
  max_attempts: number;
  created_at: number;
  run_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  expires_at: number | null;
  lease_expires_at: number | null;
  worker: string | null;
  progress: Json;
  /** Absent where the token has not the scope `payload`. */
  result?: Json;
  errors: TaskError[];
  reason: string | null;
  cancel_requested: boolean;
  tags: string[];
  meta: Record<string, string>;
  depends_on: string[];
  children: string[];
  workflow: string | null;
  unique_key: string | null;
  timeout_ms: number | null;
  /** As result. */
  payload?: Json;
}

export interface TaskPage {
  tasks: Task[];
  cursor: string | null;
  scanned: number;
}

export interface HistoryEvent {
  at: number;
  event: string;
  attempt: number;
  worker: string | null;
  detail: string | null;
}

export interface Why {
  state: StateName;
  reasons: { code: string; detail: string; until?: number | null; ids?: string[] }[];
}

export interface QueueWhy {
  reasons: Why["reasons"];
}

export interface QueueGroups {
  groups: {
    group: string | null;
    weight: number;
    ready: number;
    running: number;
    retrying: number;
    /** It has ready tasks, and a limit keeps all of them. */
    held_up: boolean;
    share: number | null;
  }[];
  kept: boolean;
  scanned: number;
  complete: boolean;
}

export interface DeadGroup {
  queue: string;
  name: string;
  error: string;
  message: string;
  count: number;
  oldest_at: number;
  latest_at: number;
  example: string;
}

export interface Worker {
  name: string;
  host: string | null;
  pid: number | null;
  queues: string[];
  running: { id: string; name: string; since: number }[];
  last_seen_at: number;
  version: string | null;
  quiet: boolean;
  stopping: boolean;
  concurrency: number | null;
}

export interface Schedule {
  name: string;
  cron: string | null;
  every_ms: number | null;
  timezone: string;
  queue: string;
  task: Record<string, Json>;
  overlap: "skip" | "queue";
  catch_up: boolean;
  paused: boolean;
  created_at: number;
  next_at: number | null;
  next_runs: number[];
  last: { at: number; outcome: "fired" | "skipped" | "refused"; task: string | null; detail: string | null } | null;
  fired: number;
  skipped: number;
  missed: number;
  refused: number;
}

export interface Workflow {
  id: string;
  name: string;
  state: string;
  created_at: number;
  counts: Partial<Counts>;
  tasks?: Task[];
  cursor?: string | null;
}

export interface EventData {
  at: number;
  kind: "task" | "queue" | "worker" | "server";
  state?: StateName;
  change?: string;
  queue?: string;
  id?: string;
  name?: string;
  attempt?: number;
  worker?: string;
  detail?: string;
}

export interface MetricsHistory {
  step_ms: number;
  points: { at: number; values: Record<string, number> }[];
}

export interface Token {
  id: string;
  name: string;
  scopes: string[];
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
}

export interface AuditEntry {
  at: number;
  who: { id: string; name: string; kind: string };
  address: string;
  command: string;
  target: string;
  what: Record<string, Json>;
  status: number | null;
  code: string | null;
}

export type BulkAction = "retry" | "cancel" | "kill" | "delete";
export type BulkFilter = Partial<
  Record<"queue" | "state" | "group" | "tag" | "name" | "error" | "workflow", string>
> & { id?: string[] };
export interface BulkReply {
  matched: number;
  changed: number;
}
