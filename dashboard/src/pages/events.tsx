// What happens, as it happens: not faster than one can read, and it tells how much was left out.

import { useEffect, useRef, useState } from "preact/hooks";
import { withQuery } from "../api";
import { clock, count } from "../format";
import { Empty, FilterField, Grid, QueueLink, State, Tag, TaskLink } from "../parts/show";
import { mayAll } from "../session";
import { STATES, type EventData } from "../types";

const KEPT = 300;
const RATES = [10, 50, 200];
const PAST: [string, number][] = [
  ["now", 0],
  ["a minute ago", 60_000],
  ["ten minutes ago", 600_000],
];

interface Wanted {
  kind: string;
  queue: string;
  state: string;
  name: string;
  rate: number;
  pastMs: number;
}

interface Heard {
  rows: { key: string; data: EventData }[];
  /** What was there when it began has come. */
  read: boolean;
  skipped: number;
  note: string;
}

const NOTHING: Heard = { rows: [], read: false, skipped: 0, note: "" };

/** Follows while `running`. What comes is shown a frame at a time, so that a flood does not hold up the page. */
function useEvents(wanted: Wanted, running: boolean): Heard {
  const [heard, setHeard] = useState<Heard>(NOTHING);
  const waiting = useRef<Heard["rows"]>([]);
  const { pastMs, ...filter } = wanted;
  const path = withQuery("/v1/events", { ...filter, since: pastMs ? Date.now() - pastMs : null });
  const key = JSON.stringify(wanted);

  useEffect(() => setHeard(NOTHING), [key]);
  useEffect(() => {
    if (!running) return;
    const source = new EventSource(path);
    let open = false;
    const onEvent = (event: MessageEvent<string>) => {
      waiting.current.push({ key: event.lastEventId, data: JSON.parse(event.data) as EventData });
    };
    for (const kind of ["task", "queue", "worker", "server"]) source.addEventListener(kind, onEvent as EventListener);
    source.addEventListener("skipped", ((event: MessageEvent<string>) => {
      const { count: skipped } = JSON.parse(event.data) as { count: number };
      setHeard((before) => ({ ...before, skipped: before.skipped + skipped }));
    }) as EventListener);
    source.onopen = () => {
      open = true;
      setHeard((before) => ({ ...before, note: "" }));
    };
    source.onerror = () =>
      setHeard((before) => ({
        ...before,
        note: source.readyState === EventSource.CLOSED ? "The server refuses this filter." : "Connecting again…",
      }));
    const timer = setInterval(() => {
      if (!open) return;
      const rows = waiting.current.reverse();
      waiting.current = [];
      setHeard((before) =>
        before.read && !rows.length ? before : { ...before, read: true, rows: [...rows, ...before.rows].slice(0, KEPT) },
      );
    }, 200);
    return () => {
      source.close();
      clearInterval(timer);
    };
  }, [key, running]);
  return heard;
}

export function Events() {
  const [wanted, setWanted] = useState<Wanted>({ kind: "", queue: "", state: "", name: "", rate: 50, pastMs: 60_000 });
  const [running, setRunning] = useState(true);
  const { rows, read, skipped, note } = useEvents(wanted, running);
  const set = (part: Partial<Wanted>) => setWanted({ ...wanted, ...part });
  const kinds = mayAll("read") ? ["task", "queue", "worker", "server"] : ["task", "queue"];
  return (
    <>
      <h1>Events</h1>
      <div class="bar filters">
        <label>
          kind{" "}
          <select value={wanted.kind} onChange={(event) => set({ kind: event.currentTarget.value })}>
            <option value="">all</option>
            {kinds.map((kind) => (
              <option key={kind}>{kind}</option>
            ))}
          </select>
        </label>
        <label>
          state{" "}
          <select value={wanted.state} onChange={(event) => set({ state: event.currentTarget.value })}>
            <option value="">all</option>
            {STATES.map((state) => (
              <option key={state}>{state}</option>
            ))}
          </select>
        </label>
        <FilterField label="queue" size={14} value={wanted.queue} onCommit={(queue) => set({ queue })} />
        <FilterField label="task name" size={14} value={wanted.name} onCommit={(name) => set({ name })} />
        <label>
          at most{" "}
          <select value={wanted.rate} onChange={(event) => set({ rate: Number(event.currentTarget.value) })}>
            {RATES.map((rate) => (
              <option key={rate} value={rate}>
                {rate} a second
              </option>
            ))}
          </select>
        </label>
        <label>
          since{" "}
          <select value={wanted.pastMs} onChange={(event) => set({ pastMs: Number(event.currentTarget.value) })}>
            {PAST.map(([label, ms]) => (
              <option key={ms} value={ms}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <button aria-pressed={!running} onClick={() => setRunning(!running)}>
          {running ? "Hold" : "Go on"}
        </button>
        {skipped > 0 && <Tag tone="warn">{count(skipped)} left out for the rate</Tag>}
        {note && (
          <span role="status" class="muted">
            {note}
          </span>
        )}
      </div>
      {rows.length ? (
        <Grid
          label="Events"
          head={
            <>
              <th>at</th>
              <th>what</th>
              <th>queue</th>
              <th>task or worker</th>
              <th>name</th>
              <th class="n">attempt</th>
              <th>detail</th>
            </>
          }
        >
          {rows.map(({ key, data }) => (
            <Row key={key} data={data} />
          ))}
        </Grid>
      ) : (
        <Empty>{read || note ? "Nothing has happened that you asked for." : "Reading…"}</Empty>
      )}
    </>
  );
}

const Row = ({ data }: { data: EventData }) => (
  <tr>
    <td>{clock(data.at)}</td>
    <td>
      {data.state ? (
        <State state={data.state} />
      ) : (
        <Tag>
          {data.kind} {data.change}
        </Tag>
      )}
    </td>
    <td>{data.queue ? <QueueLink name={data.queue} /> : <i>–</i>}</td>
    <td>{data.id ? <TaskLink id={data.id} /> : (data.worker ?? <i>–</i>)}</td>
    <td>{data.name ?? <i>–</i>}</td>
    <td class="n">{data.attempt ?? <i>–</i>}</td>
    <td class="text">{data.detail ?? (data.id ? data.worker : "") ?? ""}</td>
  </tr>
);
