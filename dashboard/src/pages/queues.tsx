// All queues: how much is in them, how they fare, and what can be done about it.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { withQuery } from "../api";
import { count, duration, latency, rate, short } from "../format";
import { usePoll } from "../parts/poll";
import { QueueActs } from "../parts/queueacts";
import { Empty, Grid, Loaded, QueueLink, Spark, Tag } from "../parts/show";
import { toTasks } from "../router";
import { mayAll, mayAny } from "../session";
import type { MetricsHistory, Queue, StateName } from "../types";

const ORDERS: Record<string, (queue: Queue) => number> = {
  name: () => 0,
  ready: (queue) => queue.counts.ready,
  running: (queue) => queue.counts.running,
  retrying: (queue) => queue.counts.retrying,
  dead: (queue) => queue.counts.dead,
  "in/s": (queue) => queue.rates.in,
  "out/s": (queue) => queue.rates.out,
  "failed/s": (queue) => queue.rates.failed,
  oldest: (queue) => queue.oldest_ready_age_ms ?? -1,
};
const SPARKS_MAX = 40; // the address of the call has its bound
const ROWS = 100; // that are shown at first
const MANY = 200; // queues of which a list is so long that it is read less often

export function Queues() {
  const [resting, setResting] = useState(true);
  const [name, setName] = useState("");
  const [order, setOrder] = useState("name");
  const [known, setKnown] = useState(0);
  const path = resting ? "/v1/queues" : "/v1/queues?active=true";
  const queues = usePoll<{ queues: Queue[] }>(path, known > MANY ? 5_000 : 2_000, true, true);
  useEffect(() => setKnown(queues.data?.queues.length ?? 0), [queues.data]);
  return (
    <>
      <h1>Queues</h1>
      <div class="bar filters">
        <label>
          name has{" "}
          <input size={18} value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label>
          <input type="checkbox" checked={resting} onChange={(event) => setResting(event.currentTarget.checked)} /> those
          at rest too
        </label>
      </div>
      <Loaded of={queues}>
        {({ queues: all }) => {
          const found = all.filter((queue) => queue.name.includes(name.trim()));
          if (found.length) return <QueueTable queues={found} order={order} onOrder={setOrder} onDone={queues.reload} />;
          return <Empty>{nothing(all.length > 0, resting)}</Empty>;
        }}
      </Loaded>
    </>
  );
}

function nothing(others: boolean, resting: boolean): string {
  if (others) return "No queue has such a name.";
  return resting ? "There are no queues yet. The first task makes one." : "All queues are at rest.";
}

/** How fast tasks left these queues of late; what was read last stays until there is more. */
function useSparks(names: string[]): Map<string, number[]> {
  const series = names
    .slice(0, SPARKS_MAX)
    .sort()
    .map((name) => `queue.${name}.out`);
  const path = mayAll("read") && series.length ? "/v1/metrics/history" : null;
  const { data } = usePoll<MetricsHistory>(path && withQuery(path, { range: "1h", series: series.join() }), 15_000);
  const read = useRef(new Map<string, number[]>());
  return useMemo(() => {
    const points = data?.points.slice(-60) ?? [];
    for (const one of data ? series : [])
      read.current.set(
        one,
        points.map((each) => each.values[one] ?? 0),
      );
    return read.current;
  }, [data]);
}

interface TableProps {
  queues: Queue[];
  order: string;
  onOrder: (order: string) => void;
  onDone: () => void;
}

function QueueTable({ queues, order, onOrder, onDone }: TableProps) {
  const [most, setMost] = useState(ROWS);
  const by = ORDERS[order]!;
  const sorted = [...queues].sort((a, b) => by(b) - by(a) || a.name.localeCompare(b.name));
  const shown = sorted.slice(0, most);
  const sparks = useSparks(shown.map((queue) => queue.name));
  const heads = Object.keys(ORDERS).map((name) => (
    <th key={name} class={name === "name" ? "" : "n"} aria-sort={name === order ? "descending" : undefined}>
      <button class="sort" onClick={() => onOrder(name)}>
        {name === "name" ? "queue" : name}
        {name === order && name !== "name" && " ▾"}
      </button>
    </th>
  ));
  return (
    <>
      <Grid
        label="Queues"
        head={
          <>
            {heads}
            <th class="n">wait p99</th>
            <th class="n">run p99</th>
            <th>out, 10 min</th>
            {mayAny("operate") && <th>change</th>}
          </>
        }
      >
        {shown.map((queue) => (
          <Row key={queue.name} queue={queue} spark={sparks.get(`queue.${queue.name}.out`) ?? []} onDone={onDone} />
        ))}
      </Grid>
      {shown.length < sorted.length && (
        <p class="bar">
          {count(shown.length)} of {count(sorted.length)} queues{" "}
          <button onClick={() => setMost(sorted.length)}>Show all</button>
        </p>
      )}
    </>
  );
}

function Row({ queue, spark, onDone }: { queue: Queue; spark: number[]; onDone: () => void }) {
  const held = (state: StateName, bad = false) => {
    const value = queue.counts[state];
    return (
      <td class={`n ${bad && value ? "bad" : ""}`}>
        {value ? <a href={toTasks(`queue:${queue.name} state:${state}`)}>{short(value)}</a> : <i>0</i>}
      </td>
    );
  };
  return (
    <tr>
      <td>
        <QueueLink name={queue.name} /> {queue.paused && <Tag tone="warn">‖ paused</Tag>}
        {queue.resorting && <Tag>sorting anew</Tag>}
      </td>
      {held("ready")}
      {held("running")}
      {held("retrying")}
      {held("dead", true)}
      <td class="n">{rate(queue.rates.in)}</td>
      <td class="n">{rate(queue.rates.out)}</td>
      <td class={`n ${queue.rates.failed ? "bad" : ""}`}>{rate(queue.rates.failed)}</td>
      <td class="n">{queue.oldest_ready_age_ms === null ? <i>–</i> : duration(queue.oldest_ready_age_ms)}</td>
      <td class="n">{queue.wait_ms.count ? latency(queue.wait_ms.p99) : <i>–</i>}</td>
      <td class="n">{queue.run_ms.count ? latency(queue.run_ms.p99) : <i>–</i>}</td>
      <td>
        <Spark values={spark} label={`tasks a second out of ${queue.name}, now ${rate(queue.rates.out)}`} />
      </td>
      {mayAny("operate") && (
        <td>
          <QueueActs queue={queue} onDone={onDone} />
        </td>
      )}
    </tr>
  );
}
