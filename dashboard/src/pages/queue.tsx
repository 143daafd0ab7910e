// One queue: how it fares, the tasks in it by state, and its settings.

import { useState } from "preact/hooks";
import { ApiError, call, v1, withQuery } from "../api";
import { duration, latency, rate, short } from "../format";
import { bulk } from "../parts/bulk";
import { usePoll } from "../parts/poll";
import { QueueActs } from "../parts/queueacts";
import { Act, At, Empty, Fact, Grid, Loaded, Panel, Reasons, State, Tag } from "../parts/show";
import { act, ask, say } from "../parts/talk";
import { TaskTable } from "../parts/tasktable";
import { go, to, toTasks } from "../router";
import { quoted } from "../search";
import { may, mayAll } from "../session";
import {
  STATES,
  type MetricsHistory,
  type Queue,
  type QueueGroups,
  type QueueSettings,
  type QueueWhy,
  type StateName,
  type TaskPage,
} from "../types";
import { Drawing, ofQueue } from "./metrics";

const SHOWN = 50;

export function QueuePage({ name }: { name: string }) {
  const queue = usePoll<Queue>(v1("queues", name), 2_000, true);
  return (
    <Loaded of={queue}>
      {(data) => (
        <>
          <div class="title">
            <h1>{data.name}</h1>
            {data.paused && <Tag tone="warn">‖ paused</Tag>}
            {data.resorting && <Tag>sorting anew</Tag>}
            <Tag>{data.discipline}</Tag>
            <Tag>{data.durability}</Tag>
            <QueueActs queue={data} onDone={queue.reload} />
          </div>
          <Figures queue={data} />
          <WhySlow name={name} />
          {mayAll("read") && <Past name={name} />}
          <Held queue={data} onDone={queue.reload} />
          {keepsGroups(data) && <Groups name={name} />}
          <Settings queue={data} onDone={queue.reload} />
        </>
      )}
    </Loaded>
  );
}

const Figures = ({ queue }: { queue: Queue }) => (
  <dl class="facts panel">
    <Fact name="in, out, failed a second">
      {rate(queue.rates.in)}, {rate(queue.rates.out)}, {rate(queue.rates.failed)}
    </Fact>
    <Fact name="oldest waits for">
      {queue.oldest_ready_age_ms === null ? "nothing waits" : duration(queue.oldest_ready_age_ms)}
    </Fact>
    <Fact name="wait p50, p99">{percentiles(queue.wait_ms)}</Fact>
    <Fact name="run p50, p99">{percentiles(queue.run_ms)}</Fact>
    <Fact name="running at once">{limit(queue.counts.running, queue.max_running)}</Fact>
    <Fact name="tasks held">
      {limit(queue.counts.ready + queue.counts.scheduled + queue.counts.retrying + queue.counts.blocked, queue.max_tasks)}
    </Fact>
    <Fact name="made at">
      <At at={queue.created_at} />
    </Fact>
  </dl>
);

const percentiles = ({ p50, p99, count }: Queue["wait_ms"]): string =>
  count ? `${latency(p50)}, ${latency(p99)}` : "none yet";

const limit = (value: number, most: number | null): string => (most === null ? short(value) : `${short(value)} of ${short(most)}`);

/** What keeps it from being faster, worst first, as the server sees it. */
function WhySlow({ name }: { name: string }) {
  const why = usePoll<QueueWhy>(v1("queues", name, "why"), 2_000, true);
  return (
    <Panel title="Why it is not faster">
      <Loaded of={why}>
        {({ reasons }) => <Reasons reasons={reasons} none="Nothing holds it up." />}
      </Loaded>
    </Panel>
  );
}

function Past({ name }: { name: string }) {
  const charts = ofQueue(name);
  const series = charts.flatMap((chart) => Object.keys(chart.lines)).join();
  const { data } = usePoll<MetricsHistory>(withQuery("/v1/metrics/history", { range: "1h", series }), 10_000);
  if (!data || data.points.length < 2) return null;
  return (
    <div class="charts">
      {charts.map((chart) => (
        <Panel key={chart.title} title={chart.title}>
          <Drawing chart={chart} data={data} height={110} />
        </Panel>
      ))}
    </div>
  );
}

const keepsGroups = (queue: Queue): boolean =>
  queue.discipline === "round_robin" || queue.ordered_groups || queue.max_running_per_group !== null;

function Groups({ name }: { name: string }) {
  const groups = usePoll<QueueGroups>(withQuery(v1("queues", name, "groups"), { limit: SHOWN }), 3_000);
  return (
    <Panel title="Groups">
      <Loaded of={groups}>
        {({ groups: all, complete }) => (
          <>
            {all.length ? (
              <Grid
                label="Groups, the most ready first"
                head={
                  <>
                    <th>group</th>
                    <th class="n">weight</th>
                    <th class="n">ready</th>
                    <th class="n">running</th>
                    <th class="n">retrying</th>
                    <th>share of what is handed out</th>
                  </>
                }
              >
                {all.map((each) => (
                  <tr key={each.group ?? ""}>
                    <td>
                      {each.group ? (
                        <a href={toTasks(`queue:${name} group:${quoted(each.group)}`)}>{each.group}</a>
                      ) : (
                        <i>no group</i>
                      )}{" "}
                      {each.held_up && <Tag tone="warn">at its limit</Tag>}
                    </td>
                    <td class="n">{each.weight}</td>
                    <td class="n">{short(each.ready)}</td>
                    <td class="n">{short(each.running)}</td>
                    <td class="n">{short(each.retrying)}</td>
                    <td>{each.share === null ? <i>–</i> : <Share of={each.share} />}</td>
                  </tr>
                ))}
              </Grid>
            ) : (
              <Empty>No group has tasks that are ready or run.</Empty>
            )}
            {(!complete || all.length === SHOWN) && <p class="foot">There are more groups than these.</p>}
          </>
        )}
      </Loaded>
    </Panel>
  );
}

const Share = ({ of }: { of: number }) => (
  <span class="share">
    <meter value={of} aria-label="share" /> {(of * 100).toFixed(of < 0.1 ? 1 : 0)} %
  </span>
);

function Held({ queue, onDone }: { queue: Queue; onDone: () => void }) {
  const { counts, name } = queue;
  const first = (["running", "ready", "dead", "retrying"] as const).find((state) => counts[state] > 0);
  const [chosen, setChosen] = useState<StateName | null>(null);
  const state = chosen ?? first ?? "ready";
  const tasks = usePoll<TaskPage>(withQuery("/v1/tasks", { queue: name, state, limit: SHOWN }), 3_000);
  const replay = async () => {
    if (await bulk("retry", [{ queue: name, state: "dead" }], `all dead letters of ${name}`)) onDone();
  };
  return (
    <Panel
      title="Tasks"
      aside={
        <span class="acts">
          <a href={toTasks(`queue:${name} state:${state}`)}>Search and change them</a>
          {state === "dead" && counts.dead > 0 && may("operate", name) && (
            <Act class="primary" onAct={replay}>
              Replay all…
            </Act>
          )}
        </span>
      }
    >
      <div class="tabs" role="group" aria-label="State">
        {STATES.map((each) => (
          <button key={each} aria-pressed={each === state} onClick={() => setChosen(each)}>
            <State state={each} /> <b>{short(counts[each])}</b>
          </button>
        ))}
      </div>
      <Loaded of={tasks}>
        {(page) =>
          page.tasks.length ? (
            <TaskTable tasks={page.tasks} label={`Tasks that are ${state}`} withQueue={false} />
          ) : (
            <Empty>None of its tasks is {state}.</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}

type Name = keyof QueueSettings;
type Kind = "number" | "time" | "yes" | readonly string[];

// backoff and rate_limit have fields of their own and are written as JSON.
const FIELDS: [Name, string, Kind | "json"][] = [
  ["discipline", "Order of hand-out", ["fifo", "lifo", "priority", "round_robin"]],
  ["durability", "Durability", ["durable", "relaxed", "memory"]],
  ["max_tasks", "Tasks it may hold", "number"],
  ["overflow", "Beyond that", ["reject", "drop_oldest"]],
  ["max_running", "Running at once", "number"],
  ["max_running_per_group", "Running at once of a group", "number"],
  ["rate_limit", "Hand-outs a second", "json"],
  ["ordered_groups", "One of a group at a time, in order", "yes"],
  ["lease_ms", "Lease", "time"],
  ["max_attempts", "Attempts", "number"],
  ["backoff", "Wait between attempts", "json"],
  ["result_ttl_ms", "Ended tasks are kept for", "time"],
  ["dead_ttl_ms", "Dead letters are kept for", "time"],
  ["partitions", "Partitions", "number"],
  ["with_parents", "Hand over parents' results", "yes"],
];

const written = (value: unknown): string =>
  value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);

/** The value of a field; raises SyntaxError. What is empty takes its default again. */
function read(kind: Kind | "json", text: string): unknown {
  if (text.trim() === "") return null;
  if (kind === "json" || kind === "yes") return JSON.parse(text);
  return kind === "number" || kind === "time" ? Number(text) : text;
}

function Settings({ queue, onDone }: { queue: Queue; onDone: () => void }) {
  const [edits, setEdits] = useState<Partial<Record<Name, string>>>({});
  const [wrong, setWrong] = useState("");
  const allowed = may("operate", queue.name);
  const changes = FIELDS.filter(([name]) => edits[name] !== undefined && edits[name] !== written(queue[name]));

  const save = async (event: Event) => {
    event.preventDefault();
    setWrong("");
    try {
      const body = Object.fromEntries(changes.map(([name, , kind]) => [name, read(kind, edits[name]!)]));
      await call("PUT", v1("queues", queue.name), body);
      setEdits({});
      say(`${queue.name} has new settings`);
      onDone();
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof SyntaxError)) throw error;
      setWrong(error.message);
    }
  };
  const remove = async () => {
    const yes = await ask({
      title: `Delete ${queue.name}?`,
      body: <p>The queue and what is in it are forgotten. Leases are revoked. This cannot be undone.</p>,
      yes: "Delete it",
      danger: true,
      typed: queue.name,
    });
    const path = withQuery(v1("queues", queue.name), { force: true });
    if (yes && (await act(() => call("DELETE", path), `${queue.name} is deleted`))) go(to("queues"));
  };

  return (
    <Panel title="Settings">
      <form class="settings" onSubmit={save}>
        {FIELDS.map(([name, label, kind]) => (
          <label key={name} class="field">
            <span>
              {label} <code>{name}</code>
            </span>
            <Input
              kind={kind}
              value={edits[name] ?? written(queue[name])}
              disabled={!allowed}
              onChange={(value) => setEdits({ ...edits, [name]: value })}
            />
          </label>
        ))}
        {wrong && (
          <p class="failure" role="alert">
            {wrong}
          </p>
        )}
        {allowed && (
          <div class="actions">
            <Act class="danger" onAct={remove}>
              Delete queue…
            </Act>
            <button type="button" disabled={!changes.length} onClick={() => setEdits({})}>
              Undo
            </button>
            <button type="submit" class="primary" disabled={!changes.length}>
              Save {changes.length > 0 && changes.map(([name]) => name).join(", ")}
            </button>
          </div>
        )}
      </form>
    </Panel>
  );
}

function Input(props: { kind: Kind | "json"; value: string; disabled: boolean; onChange: (value: string) => void }) {
  const { kind, value, disabled, onChange } = props;
  const options = kind === "yes" ? ["true", "false"] : typeof kind === "string" ? null : kind;
  if (options)
    return (
      <select value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map((each) => (
          <option key={each} value={each}>
            {kind === "yes" ? (each === "true" ? "yes" : "no") : each}
          </option>
        ))}
      </select>
    );
  return (
    <span class="with-unit">
      <input
        value={value}
        disabled={disabled}
        placeholder={kind === "json" ? "none" : "no limit"}
        inputMode={kind === "json" ? "text" : "numeric"}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
      {kind === "time" && <small>ms, {Number(value) > 0 ? duration(Number(value)) : "–"}</small>}
    </span>
  );
}
