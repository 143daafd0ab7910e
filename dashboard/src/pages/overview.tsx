// The first page: what is wrong, on top; then how the server fares.

import { useMemo } from "preact/hooks";
import { bytes, count, latency, plural, rate, short } from "../format";
import { minuteAgo, notices, now, samples, stats } from "../live";
import { Chart } from "../parts/chart";
import { usePoll } from "../parts/poll";
import { resume } from "../parts/queueacts";
import { Act, Ago, Empty, Failure, Panel, State } from "../parts/show";
import { findings, type Finding } from "../problems";
import { to, toTasks } from "../router";
import { may, mayAll } from "../session";
import { STATES, type Counts, type DeadGroup, type Queue, type Stats, type Worker } from "../types";

export function Overview() {
  const all = mayAll("read");
  // Whoever may not have the server's figures adds up those of all its queues.
  const path = all ? "/v1/queues?active=true" : "/v1/queues";
  const queues = usePoll<{ queues: Queue[] }>(path, 2_000, true, true);
  const workers = usePoll<{ workers: Worker[] }>(all ? "/v1/workers" : null, 3_000, true, true);
  const counts = stats.value?.counts ?? (all ? null : sumCounts(queues.data?.queues ?? []));
  const anyDead = counts !== null && counts.dead > 0;
  const dead = usePoll<{ groups: DeadGroup[] }>(anyDead ? "/v1/dead/groups?limit=20" : null, 5_000, false, true);
  const known = queues.data !== null && counts !== null && (!anyDead || dead.data !== null);
  const found = findings({
    now: now.value,
    stats: stats.value,
    minuteAgo: minuteAgo.value,
    notices: notices.value,
    queues: queues.data?.queues ?? [],
    workers: workers.data?.workers ?? null,
    dead: dead.data?.groups ?? [],
  });

  return (
    <>
      <h1>Overview</h1>
      {queues.error && <Failure error={queues.error} />}
      <Wrong found={found} known={known} onMend={queues.reload} />
      <ul class="counts" aria-label="Tasks by state">
        {STATES.map((state) => (
          <li key={state}>
            <a href={toTasks(`state:${state}`)}>
              <b>{counts ? short(counts[state]) : "–"}</b>
              <State state={state} />
            </a>
          </li>
        ))}
      </ul>
      {stats.value && <Throughput />}
      <div class="masonry">
        {stats.value && <Latencies stats={stats.value} />}
        <Waiting queues={queues.data?.queues ?? []} />
        {workers.data && <Working workers={workers.data.workers} />}
        {stats.value && <Machine stats={stats.value} />}
      </div>
    </>
  );
}

function sumCounts(queues: Queue[]): Counts {
  const sums = Object.fromEntries(STATES.map((state) => [state, 0])) as Counts;
  for (const queue of queues) for (const state of STATES) sums[state] += queue.counts[state];
  return sums;
}

const LEVELS = { bad: ["✖", "wrong"], warn: ["▲", "look at it"], note: ["●", "to know"] } as const;

function Wrong({ found, known, onMend }: { found: Finding[]; known: boolean; onMend: () => void }) {
  const bad = found.reduce((sum, each) => sum + (each.level === "note" ? 0 : (each.count ?? 1)), 0);
  const [tone, mark, title] = bad
    ? ["", "✖", plural(bad, "problem")]
    : known
      ? ["fine", "✓", "Nothing is wrong"]
      : ["looking", "", "Looking…"];
  return (
    <section class={`panel wrong ${tone}`} aria-label="What is wrong">
      <header>
        <h2>
          <span aria-hidden="true">{mark}</span> {title}
        </h2>
      </header>
      {found.length > 0 && (
        <ul class="findings">
          {found.map((each) => (
            <li key={each.key} class={each.level}>
              <a href={each.href}>
                <span class="mark" role="img" aria-label={LEVELS[each.level][1]}>
                  {LEVELS[each.level][0]}
                </span>
                <b>{each.title}</b> <span class="detail">{each.detail}</span>
              </a>
              {each.resume && may("operate", each.resume) && (
                <Act class="primary" onAct={() => resume(each.resume!).then(onMend)}>
                  Resume
                </Act>
              )}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Throughput() {
  const all = samples.value;
  const [times, lines] = useMemo(
    () => [
      all.map((each) => each.at),
      [
        { name: "in", colour: "--in", values: all.map((each) => each.in) },
        { name: "out", colour: "--out", values: all.map((each) => each.out) },
        { name: "failed", colour: "--bad", values: all.map((each) => each.failed) },
      ],
    ],
    [all],
  );
  const rates = stats.value!.rates;
  return (
    <Panel
      title="Tasks a second"
      aside={
        <span class="legend">
          <span class="in">in {rate(rates.in)}</span> <span class="out">out {rate(rates.out)}</span>{" "}
          <span class="failed">failed {rate(rates.failed)}</span>
        </span>
      }
    >
      {all.length > 1 ? (
        <Chart label="Tasks a second" times={times} lines={lines} format={rate} legend={false} />
      ) : (
        <Empty>The first figures come in a second.</Empty>
      )}
    </Panel>
  );
}

const LATENCIES = [
  ["wait", "Wait", "from due to handed out"],
  ["run", "Run", "from handed out to its end"],
  ["request", "Request", "from its last byte to the answer"],
  ["commit", "Commit", "of a turn, to the store"],
  ["fsync", "Flush", "of the log to the disk"],
  ["loop_lag", "Loop lag", "how late timers are"],
] as const;

const Latencies = ({ stats: { latency_ms, totals } }: { stats: Stats }) => (
  <Panel title="Latencies, last minutes">
    <table>
      <thead>
        <tr>
          <th>of</th>
          <th class="n">p50</th>
          <th class="n">p99</th>
          <th class="n">count</th>
        </tr>
      </thead>
      <tbody>
        {LATENCIES.map(([key, name, meaning]) => (
          <tr key={key}>
            <td title={meaning}>{name}</td>
            <td class="n">{latency(latency_ms[key].p50)}</td>
            <td class="n">{latency(latency_ms[key].p99)}</td>
            <td class="n">{short(latency_ms[key].count)}</td>
          </tr>
        ))}
      </tbody>
    </table>
    <p class="foot">
      Since the start: {plural(totals.failed_attempts ?? 0, "failed attempt")},{" "}
      {plural(totals.expired_leases ?? 0, "lease")} run out
    </p>
  </Panel>
);

function Waiting({ queues }: { queues: Queue[] }) {
  const waiting = queues
    .filter((queue) => queue.oldest_ready_age_ms !== null)
    .sort((a, b) => b.oldest_ready_age_ms! - a.oldest_ready_age_ms!);
  return (
    <Panel title="Waiting longest">
      {!waiting.length && <Empty>Nothing waits.</Empty>}
      {waiting.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>queue</th>
              <th class="n">ready</th>
              <th class="n">out/s</th>
              <th class="n">oldest</th>
            </tr>
          </thead>
          <tbody>
            {waiting.slice(0, 7).map((queue) => (
              <tr key={queue.name}>
                <td>
                  <a href={to("queues", queue.name)}>{queue.name}</a>
                </td>
                <td class="n">{short(queue.counts.ready)}</td>
                <td class="n">{rate(queue.rates.out)}</td>
                <td class="n">{latency(queue.oldest_ready_age_ms!)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

const Working = ({ workers }: { workers: Worker[] }) => (
  <Panel title={plural(workers.length, "worker")}>
    {!workers.length && <Empty>None has been heard of in the last five minutes.</Empty>}
    {workers.length > 0 && (
      <table>
        <thead>
          <tr>
            <th>worker</th>
            <th class="n">runs</th>
            <th class="n">heard of</th>
          </tr>
        </thead>
        <tbody>
          {workers.slice(0, 7).map((worker) => (
            <tr key={worker.name}>
              <td>
                <a href={to("workers")}>{worker.name}</a>
              </td>
              <td class="n">
                {worker.running.length}
                {worker.concurrency !== null && ` of ${worker.concurrency}`}
              </td>
              <td class="n">
                <Ago at={worker.last_seen_at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    )}
    {workers.length > 7 && <p class="foot">and {count(workers.length - 7)} more</p>}
  </Panel>
);

function Machine({ stats: { host, process, storage, connections, waiters } }: { stats: Stats }) {
  const rows: [string, string][] = [
    ["connections", count(connections)],
    ["polls that wait", count(waiters)],
    ["load, 1 min", `${(host.load_1m ?? 0).toFixed(2)} of ${host.cpu_count ?? "?"} CPUs`],
    ["memory of the server", bytes(process.resident_bytes ?? 0)],
    ["memory left", `${bytes(host.memory_available_bytes ?? 0)} of ${bytes(host.memory_total_bytes ?? 0)}`],
    ["disk left", `${bytes(host.disk_free_bytes ?? 0)} of ${bytes(host.disk_total_bytes ?? 0)}`],
    ["store", `${bytes(Number(storage.table_bytes ?? 0))} in ${short(Number(storage.keys_estimate ?? 0))} records`],
    ["open files", `${count(process.open_files ?? 0)} of ${count(process.open_files_limit ?? 0)}`],
  ];
  return (
    <Panel title="Machine">
      <table>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="n fold">{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
