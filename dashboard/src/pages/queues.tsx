// All queues: how much is in them, how they fare, and what can be done about it.

import { useMemo, useState } from "preact/hooks";
import { withQuery } from "../api";
import { duration, latency, rate, short } from "../format";
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

export function Queues() {
  const queues = usePoll<{ queues: Queue[] }>("/v1/queues", 2_000, true, true);
  return (
    <>
      <h1>Queues</h1>
      <Loaded of={queues}>
        {({ queues: all }) =>
          all.length ? (
            <QueueTable queues={all} onDone={queues.reload} />
          ) : (
            <Empty>There are no queues yet. The first task makes one.</Empty>
          )
        }
      </Loaded>
    </>
  );
}

function useSparks(names: string[]): Map<string, number[]> {
  const series = names.slice(0, SPARKS_MAX).map((name) => `queue.${name}.out`);
  const path = mayAll("read") && series.length ? "/v1/metrics/history" : null;
  const { data } = usePoll<MetricsHistory>(path && withQuery(path, { range: "1h", series: series.join() }), 15_000);
  return useMemo(
    () =>
      new Map(
        names.map((name) => [name, data?.points.slice(-60).map((each) => each.values[`queue.${name}.out`] ?? 0) ?? []]),
      ),
    [data],
  );
}

function QueueTable({ queues, onDone }: { queues: Queue[]; onDone: () => void }) {
  const [order, setOrder] = useState("name");
  const names = useMemo(() => queues.map((queue) => queue.name), [queues.map((queue) => queue.name).join()]);
  const sparks = useSparks(names);
  const by = ORDERS[order]!;
  const sorted = [...queues].sort((a, b) => by(b) - by(a) || a.name.localeCompare(b.name));
  const heads = Object.keys(ORDERS).map((name) => (
    <th key={name} class={name === "name" ? "" : "n"} aria-sort={name === order ? "descending" : undefined}>
      <button class="sort" onClick={() => setOrder(name)}>
        {name === "name" ? "queue" : name}
        {name === order && name !== "name" && " ▾"}
      </button>
    </th>
  ));
  return (
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
      {sorted.map((queue) => (
        <Row key={queue.name} queue={queue} spark={sparks.get(queue.name) ?? []} onDone={onDone} />
      ))}
    </Grid>
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
