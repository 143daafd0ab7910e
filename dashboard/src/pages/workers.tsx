// Who works, on what, and since when.

import { post, v1 } from "../api";
import { duration, plural } from "../format";
import { now } from "../live";
import { usePoll } from "../parts/poll";
import { Act, Ago, Empty, Grid, Loaded, QueueLink, Tag, TaskLink } from "../parts/show";
import { act, ask } from "../parts/talk";
import { mayAll } from "../session";
import type { Worker } from "../types";

const SILENT_MS = 45_000;
const RUNNING_MAX = 8;

export function Workers() {
  const workers = usePoll<{ workers: Worker[] }>("/v1/workers", 2_000, true, true);
  return (
    <>
      <h1>Workers</h1>
      <Loaded of={workers}>
        {({ workers: all }) =>
          all.length ? (
            <Grid
              label="Workers"
              head={
                <>
                  <th>worker</th>
                  <th>state</th>
                  <th class="n">runs</th>
                  <th>what, and since when</th>
                  <th>queues</th>
                  <th class="n">heard of</th>
                  <th>host</th>
                  {mayAll("operate") && <th>change</th>}
                </>
              }
            >
              {all.map((worker) => (
                <Row key={worker.name} worker={worker} onDone={workers.reload} />
              ))}
            </Grid>
          ) : (
            <Empty>No worker has been heard of in the last five minutes.</Empty>
          )
        }
      </Loaded>
    </>
  );
}

function Row({ worker, onDone }: { worker: Worker; onDone: () => void }) {
  const gone = now.value - worker.last_seen_at > SILENT_MS;
  return (
    <tr>
      <td>
        <b>{worker.name}</b>
      </td>
      <td>
        {gone ? (
          <Tag tone="bad">✖ gone</Tag>
        ) : worker.stopping ? (
          <Tag tone="warn">■ stopping</Tag>
        ) : worker.quiet ? (
          <Tag tone="warn">‖ quiet</Tag>
        ) : (
          <Tag tone="good">▶ takes tasks</Tag>
        )}
      </td>
      <td class="n">
        {worker.running.length}
        {worker.concurrency !== null && ` of ${worker.concurrency}`}
      </td>
      <td>
        {!worker.running.length && <i>nothing</i>}
        {worker.running.slice(0, RUNNING_MAX).map((task) => (
          <div key={task.id}>
            <TaskLink id={task.id} /> {task.name} <i>{duration(Math.max(0, now.value - task.since))}</i>
          </div>
        ))}
        {worker.running.length > RUNNING_MAX && <i>and {worker.running.length - RUNNING_MAX} more</i>}
      </td>
      <td class="fold">
        {worker.queues.map((name) => (
          <span key={name}>
            <QueueLink name={name} />{" "}
          </span>
        ))}
      </td>
      <td class="n">
        <Ago at={worker.last_seen_at} />
      </td>
      <td title={worker.version ? `version ${worker.version}` : undefined}>
        {worker.host ?? <i>–</i>}
        {worker.pid !== null && <i> {worker.pid}</i>}
      </td>
      {mayAll("operate") && (
        <td>
          <Acts worker={worker} onDone={onDone} />
        </td>
      )}
    </tr>
  );
}

function Acts({ worker, onDone }: { worker: Worker; onDone: () => void }) {
  const change = async (what: "quiet" | "resume" | "stop", done: string) => {
    if (await act(() => post(v1("workers", worker.name, what)), `${worker.name} ${done}`)) onDone();
  };
  const stop = async () => {
    const yes = await ask({
      title: `Stop ${worker.name}?`,
      body: <p>It finishes {plural(worker.running.length, "task")}, takes no more, and exits.</p>,
      yes: "Stop it",
      danger: true,
    });
    if (yes) await change("stop", "is asked to stop");
  };
  return (
    <span class="acts">
      {worker.quiet ? (
        <Act class="primary" aria-label={`Resume ${worker.name}`} onAct={() => change("resume", "takes tasks again")}>
          Resume
        </Act>
      ) : (
        <Act aria-label={`Make ${worker.name} quiet`} onAct={() => change("quiet", "takes no more tasks")}>
          Quiet
        </Act>
      )}
      <Act class="danger" aria-label={`Stop ${worker.name}`} disabled={worker.stopping} onAct={stop}>
        Stop…
      </Act>
    </span>
  );
}
