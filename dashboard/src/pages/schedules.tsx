// What the server enqueues by itself: when next, and how it went last.

import { call, post, v1 } from "../api";
import { count, duration, instant } from "../format";
import { usePoll } from "../parts/poll";
import { Act, Ago, At, Empty, Grid, Loaded, QueueLink, Tag, TaskLink, Until } from "../parts/show";
import { act, ask } from "../parts/talk";
import { may, mayAny } from "../session";
import type { Schedule } from "../types";

export function Schedules() {
  const schedules = usePoll<{ schedules: Schedule[]; cursor: string | null }>("/v1/schedules?limit=500", 3_000);
  return (
    <>
      <h1>Schedules</h1>
      <Loaded of={schedules}>
        {({ schedules: all, cursor }) =>
          all.length ? (
            <>
              <Table schedules={all} onDone={schedules.reload} />
              {cursor && <p class="foot">These are the first {all.length} by name.</p>}
            </>
          ) : (
            <Empty>
              There are no schedules. <code>tqx schedule set</code> makes one.
            </Empty>
          )
        }
      </Loaded>
    </>
  );
}

const Table = ({ schedules, onDone }: { schedules: Schedule[]; onDone: () => void }) => (
  <Grid
    label="Schedules"
    head={
      <>
        <th>schedule</th>
        <th>when</th>
        <th>queue</th>
        <th>next</th>
        <th>last</th>
        <th class="n">fired</th>
        <th>not fired</th>
        {mayAny("operate") && <th>change</th>}
      </>
    }
  >
    {schedules.map((schedule) => (
      <tr key={schedule.name}>
        <td class="fold">
          <b>{schedule.name}</b> {schedule.paused && <Tag tone="warn">‖ paused</Tag>}
        </td>
        <td class="fold">
          {schedule.cron !== null ? (
            <>
              <code>{schedule.cron}</code> <i>{schedule.timezone}</i>
            </>
          ) : (
            `every ${duration(schedule.every_ms ?? 0)}`
          )}
        </td>
        <td>
          <QueueLink name={schedule.queue} />
        </td>
        <td class="fold" title={schedule.next_runs.map(instant).join("\n")}>
          <Until at={schedule.next_at} />
          <div class="then">
            {schedule.next_runs
              .filter((at) => at !== schedule.next_at)
              .slice(0, 2)
              .map((at) => (
                <At key={at} at={at} />
              ))}
          </div>
        </td>
        <td class="fold">
          <Last last={schedule.last} />
        </td>
        <td class="n">{count(schedule.fired)}</td>
        <td>
          <NotFired schedule={schedule} />
        </td>
        {mayAny("operate") && (
          <td>{may("operate", schedule.queue) && <Acts schedule={schedule} onDone={onDone} />}</td>
        )}
      </tr>
    ))}
  </Grid>
);

const NotFired = ({ schedule: { skipped, refused, missed } }: { schedule: Schedule }) => (
  <span class="acts">
    {skipped + refused + missed === 0 && <i>0</i>}
    {skipped > 0 && <Tag>{count(skipped)} skipped</Tag>}
    {refused > 0 && <Tag tone="bad">{count(refused)} refused</Tag>}
    {missed > 0 && <Tag tone="bad">{count(missed)} missed</Tag>}
  </span>
);

function Last({ last }: { last: Schedule["last"] }) {
  if (!last) return <i>not yet</i>;
  const tone = last.outcome === "fired" ? "good" : last.outcome === "refused" ? "bad" : "warn";
  return (
    <span title={last.detail ?? undefined}>
      <Tag tone={tone}>{last.outcome}</Tag> <Ago at={last.at} /> {last.task && <TaskLink id={last.task} />}
    </span>
  );
}

function Acts({ schedule: { name, paused }, onDone }: { schedule: Schedule; onDone: () => void }) {
  const change = async (what: "pause" | "resume" | "trigger", done: string) => {
    if (await act(() => post(v1("schedules", name, what)), `${name} ${done}`)) onDone();
  };
  const remove = async () => {
    const yes = await ask({
      title: `Delete ${name}?`,
      body: <p>The schedule is forgotten; tasks that it has enqueued stay.</p>,
      yes: "Delete it",
      danger: true,
    });
    if (yes && (await act(() => call("DELETE", v1("schedules", name)), `${name} is deleted`))) onDone();
  };
  return (
    <span class="acts">
      {paused ? (
        <Act class="primary" aria-label={`Resume ${name}`} onAct={() => change("resume", "goes on")}>
          Resume
        </Act>
      ) : (
        <Act aria-label={`Pause ${name}`} onAct={() => change("pause", "is paused")}>
          Pause
        </Act>
      )}
      <Act aria-label={`Trigger ${name}`} onAct={() => change("trigger", "is triggered")}>
        Trigger
      </Act>
      <Act class="danger" aria-label={`Delete ${name}`} onAct={remove}>
        Delete…
      </Act>
    </span>
  );
}
