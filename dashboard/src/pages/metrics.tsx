// Figures over an hour, a day, a month, as the server keeps them.

import { useMemo, useState } from "preact/hooks";
import { withQuery } from "../api";
import { bytes, latency, rate, short } from "../format";
import { Chart } from "../parts/chart";
import { usePoll } from "../parts/poll";
import { Empty, Loaded, Panel } from "../parts/show";
import type { MetricsHistory, Queue } from "../types";

const RANGES = { "1h": "1 hour", "24h": "24 hours", "30d": "30 days" } as const;
type Range = keyof typeof RANGES;
const REFRESH_MS: Record<Range, number> = { "1h": 10_000, "24h": 60_000, "30d": 300_000 };

interface Drawn {
  title: string;
  format: (value: number) => string;
  binary?: boolean;
  /** What is shown of a series: its name, its colour. */
  lines: Record<string, [string, string]>;
}

const CHARTS: Drawn[] = [
  {
    title: "Tasks a second",
    format: rate,
    lines: {
      "rate.in": ["in", "--in"],
      "rate.out": ["out", "--out"],
      "rate.failed": ["failed", "--bad"],
    },
  },
  {
    title: "Tasks that wait or run",
    format: short,
    lines: {
      "tasks.ready": ["ready", "--in"],
      "tasks.running": ["running", "--out"],
      "tasks.retrying": ["retrying", "--warn"],
      "tasks.scheduled": ["scheduled", "--violet"],
    },
  },
  { title: "Dead letters", format: short, lines: { "tasks.dead": ["dead", "--bad"] } },
  {
    title: "Wait for a worker",
    format: latency,
    lines: { "latency.wait.p50_ms": ["p50", "--in"], "latency.wait.p99_ms": ["p99", "--warn"] },
  },
  {
    title: "Run",
    format: latency,
    lines: { "latency.run.p50_ms": ["p50", "--in"], "latency.run.p99_ms": ["p99", "--warn"] },
  },
  {
    title: "Server, p99",
    format: latency,
    lines: {
      "latency.request.p99_ms": ["request", "--in"],
      "latency.commit.p99_ms": ["commit", "--out"],
      "latency.fsync.p99_ms": ["flush", "--violet"],
      "latency.loop_lag.p99_ms": ["loop lag", "--warn"],
    },
  },
  { title: "Memory of the server", format: bytes, binary: true, lines: { "process.resident_bytes": ["resident", "--in"] } },
  { title: "Connections", format: short, lines: { connections: ["connections", "--in"] } },
];

export const ofQueue = (name: string): Drawn[] => [
  {
    title: `${name}: tasks a second`,
    format: rate,
    lines: { [`queue.${name}.in`]: ["in", "--in"], [`queue.${name}.out`]: ["out", "--out"] },
  },
  { title: `${name}: ready`, format: rate, lines: { [`queue.${name}.ready`]: ["ready", "--in"] } },
];

export function Metrics() {
  const [range, setRange] = useState<Range>("1h");
  const [queue, setQueue] = useState("");
  const queues = usePoll<{ queues: Queue[] }>("/v1/queues", 0);
  const charts = queue ? ofQueue(queue) : CHARTS;
  const series = charts.flatMap((chart) => Object.keys(chart.lines)).join();
  const history = usePoll<MetricsHistory>(withQuery("/v1/metrics/history", { range, series }), REFRESH_MS[range]);
  return (
    <>
      <h1>Metrics</h1>
      <div class="bar">
        <div class="tabs" role="group" aria-label="Range">
          {(Object.keys(RANGES) as Range[]).map((each) => (
            <button key={each} aria-pressed={each === range} onClick={() => setRange(each)}>
              {RANGES[each]}
            </button>
          ))}
        </div>
        <label>
          of{" "}
          <select value={queue} onChange={(event) => setQueue(event.currentTarget.value)}>
            <option value="">the server</option>
            {queues.data?.queues.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      </div>
      <Loaded of={history}>
        {(data) =>
          data.points.length > 1 ? (
            <div class="charts">
              {charts.map((chart) => (
                <Panel key={chart.title} title={chart.title}>
                  <Drawing chart={chart} data={data} />
                </Panel>
              ))}
            </div>
          ) : (
            <Empty>The server has not been up for long enough: a point takes {data.step_ms / 1_000} s.</Empty>
          )
        }
      </Loaded>
    </>
  );
}

export function Drawing({ chart, data, height = 160 }: { chart: Drawn; data: MetricsHistory; height?: number }) {
  const [times, lines] = useMemo(() => {
    const points = withGaps(data);
    const lines = Object.entries(chart.lines).map(([series, [name, colour]]) => ({
      name,
      colour,
      values: points.map((point) => point.values?.[series] ?? null),
    }));
    return [points.map((point) => point.at), lines] as const;
  }, [data, chart.title]);
  return <Chart label={chart.title} times={times} lines={lines} format={chart.format} binary={chart.binary ?? false} height={height} />;
}

/** The points, and one without values wherever the server did not run: no line is drawn over that. */
function withGaps({ step_ms, points }: MetricsHistory): { at: number; values?: Record<string, number> }[] {
  return points.flatMap((point, index) => {
    const before = points[index - 1];
    return before && point.at - before.at > 1.5 * step_ms ? [{ at: before.at + step_ms }, point] : [point];
  });
}
