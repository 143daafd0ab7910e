// One task: what it is, what happened to it, why it does not run, and what can be done.

import { useState } from "preact/hooks";
import { ApiError, call, post, v1, withQuery } from "../api";
import { duration, instant, pretty } from "../format";
import { Graph, type Node } from "../parts/graph";
import { usePoll } from "../parts/poll";
import { Act, Ago, At, Code, Empty, Fact, JsonBlock, Loaded, Panel, QueueLink, Reasons, State, Until } from "../parts/show";
import { Modal, act, ask, say } from "../parts/talk";
import { go, to, toTasks } from "../router";
import { may } from "../session";
import type { HistoryEvent, StateName, Task, TaskPage as Page, Why } from "../types";

const WAITING: StateName[] = ["scheduled", "blocked", "ready", "retrying"];
const ENDED: StateName[] = ["completed", "cancelled", "expired", "dead"];
const POLL_MS = 1_500;

export function TaskPage({ name: id }: { name: string }) {
  const task = usePoll<Task>(v1("tasks", id), POLL_MS);
  return (
    <Loaded of={task}>
      {(data) => (
        <>
          <div class="title">
            <h1>{data.name || "Task"}</h1>
            <State state={data.state} />
            <code>{data.id}</code>
            {may("operate", data.queue) && <Acts task={data} onDone={task.reload} />}
          </div>
          <Facts task={data} />
          {WAITING.includes(data.state) && <WhyNot task={data} />}
          <Attempts task={data} />
          <div class="columns">
            <Panel title="Payload">
              {data.payload === undefined ? <NotShown /> : <JsonBlock value={data.payload} label="Payload" />}
            </Panel>
            {data.result !== null && data.result !== undefined && (
              <Panel title="Result">
                <JsonBlock value={data.result} label="Result" />
              </Panel>
            )}
            {data.progress !== null && (
              <Panel title="Progress">
                <JsonBlock value={data.progress} label="Progress" />
              </Panel>
            )}
            {Object.keys(data.meta).length > 0 && (
              <Panel title="Meta">
                <JsonBlock value={data.meta} label="Meta" />
              </Panel>
            )}
          </div>
          {data.depends_on.length + data.children.length > 0 && <Dependencies task={data} />}
          <Timeline task={data} />
        </>
      )}
    </Loaded>
  );
}

const NotShown = () => (
  <Empty>
    Not shown: this token has not the scope <code>payload</code> for the queue.
  </Empty>
);

function Acts({ task, onDone }: { task: Task; onDone: () => void }) {
  const [editing, setEditing] = useState(false);
  const waits = WAITING.includes(task.state);
  const ended = ENDED.includes(task.state);
  const change = async (what: string, done: string, question?: string) => {
    const yes = !question || (await ask({ title: question, yes: question.replace("?", ""), danger: true }));
    if (yes && (await act(() => post(v1("tasks", task.id, what)), done))) onDone();
  };
  const remove = async () => {
    const yes = await ask({ title: "Delete this task?", body: <p>It is forgotten.</p>, yes: "Delete", danger: true });
    if (yes && (await act(() => call("DELETE", v1("tasks", task.id)), "Deleted"))) go(toTasks(`queue:${task.queue}`));
  };
  return (
    <span class="acts">
      {task.state === "dead" && (
        <Act class="primary" onAct={() => change("retry", "It is to be tried again")}>
          Retry
        </Act>
      )}
      {task.state === "blocked" && <Act onAct={() => change("unblock", "It waits no longer")}>Unblock</Act>}
      {waits && (
        <button type="button" onClick={() => setEditing(true)}>
          Edit…
        </button>
      )}
      {!ended && (
        <Act class="danger" onAct={() => change("cancel", "Cancellation is asked for", "Cancel this task?")}>
          Cancel…
        </Act>
      )}
      {!ended && (
        <Act class="danger" onAct={() => change("kill", "It is dead, and its lease revoked", "Kill this task?")}>
          Kill…
        </Act>
      )}
      {(waits || ended) && (
        <Act class="danger" onAct={remove}>
          Delete…
        </Act>
      )}
      {editing && <Edit task={task} onClose={() => setEditing(false)} onDone={onDone} />}
    </span>
  );
}

function Edit({ task, onClose, onDone }: { task: Task; onClose: () => void; onDone: () => void }) {
  const before = task.payload === undefined ? "" : pretty(task.payload);
  const [payload, setPayload] = useState(before);
  const [priority, setPriority] = useState(String(task.priority));
  const [delayS, setDelayS] = useState("");
  const [wrong, setWrong] = useState("");
  const save = async (event: Event) => {
    event.preventDefault();
    try {
      if (payload !== before) JSON.parse(payload);
      const parts = [];
      // As it was typed: numbers of many digits must not pass through JavaScript.
      if (payload !== before) parts.push(`"payload":${payload}`);
      if (priority !== String(task.priority)) parts.push(`"priority":${Number(priority)}`);
      if (delayS.trim() !== "") parts.push(`"run_at":${Math.round(Date.now() + Number(delayS) * 1_000)}`);
      await call("PATCH", v1("tasks", task.id), new Blob([`{${parts.join()}}`]));
      say("The task is changed");
      onClose();
      onDone();
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof SyntaxError)) throw error;
      setWrong(error.message);
    }
  };
  return (
    <Modal title="Edit the task" onClose={onClose}>
      <form onSubmit={save}>
        <label class="field">
          Payload {task.payload === undefined && "(not shown; what you write replaces it)"}
          <textarea rows={10} spellcheck={false} value={payload} onInput={(event) => setPayload(event.currentTarget.value)} />
        </label>
        <label class="field">
          Priority, -1000 to 1000
          <input inputMode="numeric" value={priority} onInput={(event) => setPriority(event.currentTarget.value)} />
        </label>
        <label class="field">
          Run in so many seconds (0: now)
          <input
            inputMode="numeric"
            value={delayS}
            placeholder="as it is"
            onInput={(event) => setDelayS(event.currentTarget.value)}
          />
        </label>
        {wrong && (
          <p class="failure" role="alert">
            {wrong}
          </p>
        )}
        <div class="actions">
          <button type="button" onClick={onClose}>
            Leave as it is
          </button>
          <button type="submit" class="primary">
            Save
          </button>
        </div>
      </form>
    </Modal>
  );
}

const Facts = ({ task }: { task: Task }) => (
  <dl class="facts panel">
    <Fact name="queue">
      <QueueLink name={task.queue} />
    </Fact>
    <Fact name="attempt">
      {task.attempt} of {task.max_attempts}, {task.failures} failed
    </Fact>
    <Fact name="priority">{task.priority}</Fact>
    <Fact name="created">
      <Ago at={task.created_at} />
    </Fact>
    {task.run_at !== null && !ENDED.includes(task.state) && (
      <Fact name="runs at">
        <Until at={task.run_at} />
      </Fact>
    )}
    {task.started_at !== null && (
      <Fact name="started">
        <Ago at={task.started_at} />
      </Fact>
    )}
    {task.ended_at !== null && (
      <Fact name="ended">
        <Ago at={task.ended_at} />
      </Fact>
    )}
    {task.started_at !== null && task.ended_at !== null && (
      <Fact name="the last attempt took">{duration(task.ended_at - task.started_at)}</Fact>
    )}
    {task.expires_at !== null && (
      <Fact name="expires">
        <Until at={task.expires_at} />
      </Fact>
    )}
    {task.lease_expires_at !== null && (
      <Fact name="lease ends">
        <Until at={task.lease_expires_at} />
      </Fact>
    )}
    {task.worker && (
      <Fact name="worker">
        <a href={to("workers")}>{task.worker}</a>
      </Fact>
    )}
    {task.reason && <Fact name="reason">{task.reason}</Fact>}
    {task.group !== null && (
      <Fact name="group">
        <a href={toTasks(`queue:${task.queue} group:${task.group}`)}>{task.group}</a>
      </Fact>
    )}
    {task.tags.length > 0 && <Fact name="tags">{task.tags.join(", ")}</Fact>}
    {task.unique_key && <Fact name="unique key">{task.unique_key}</Fact>}
    {task.timeout_ms !== null && <Fact name="timeout">{duration(task.timeout_ms)}</Fact>}
    {task.workflow && (
      <Fact name="workflow">
        <a href={to("workflows", task.workflow)}>{task.workflow}</a>
      </Fact>
    )}
    {task.cancel_requested && <Fact name="cancellation">asked for</Fact>}
  </dl>
);

function WhyNot({ task }: { task: Task }) {
  const why = usePoll<Why>(v1("tasks", task.id, "why"), 2_000);
  return (
    <Panel title="Why it is not running">
      <Loaded of={why}>
        {({ reasons }) => <Reasons reasons={reasons} none="Nothing holds it: it is about to be handed out." />}
      </Loaded>
    </Panel>
  );
}

/** The failed attempts, the latest first and open. */
function Attempts({ task }: { task: Task }) {
  if (!task.errors.length) return null;
  return (
    <Panel title={task.errors.length === 1 ? "The attempt that failed" : "The attempts that failed"}>
      {task.errors.toReversed().map((error, index) => (
        <details key={error.attempt} open={index === 0}>
          <summary>
            <span class="state dead">✖</span> attempt {error.attempt}: <b>{error.type}</b> {error.message}{" "}
            <span class="muted">
              <At at={error.at} /> by {error.worker || "nobody"}
            </span>
          </summary>
          {error.traceback ? (
            <Code text={error.traceback} label={`Traceback of attempt ${error.attempt}`} />
          ) : (
            <Empty>It told no traceback.</Empty>
          )}
        </details>
      ))}
    </Panel>
  );
}

const NODES_MAX = 60;

function Dependencies({ task }: { task: Task }) {
  const ids = [...task.depends_on, ...task.children].slice(0, NODES_MAX);
  const others = usePoll<Page>(withQuery("/v1/tasks", { id: ids.join(), limit: NODES_MAX }), 3_000);
  const known = new Map(others.data?.tasks.map((each) => [each.id, each]));
  const nodes: Node[] = [
    ...ids.flatMap((id) => known.get(id) ?? []).map((each) => node(each, each.id)),
    node(task, task.id),
  ];
  return (
    <Panel title="What it depends on, and what depends on it">
      <Graph nodes={nodes} current={task.id} label="Dependencies" />
      {others.data && nodes.length <= ids.length && (
        <p class="foot">Some have been forgotten, or may not be seen with this token.</p>
      )}
    </Panel>
  );
}

const node = ({ name, state, depends_on }: Task, id: string): Node => ({ id, name, state, dependsOn: depends_on });

function Timeline({ task }: { task: Task }) {
  const history = usePoll<HistoryEvent[]>(v1("tasks", task.id, "history"), POLL_MS);
  return (
    <Panel title="What happened">
      <Loaded of={history}>
        {(events) => (
          <div class="scroll" role="region" aria-label="What happened" tabIndex={0}>
            <table class="timeline">
              <thead>
                <tr>
                  <th>at</th>
                  <th class="n">after</th>
                  <th>event</th>
                  <th class="n">attempt</th>
                  <th>worker</th>
                  <th>detail</th>
                </tr>
              </thead>
              <tbody>
                {events.map((event, index) => (
                  <tr key={index} class={event.event}>
                    <td>{instant(event.at)}</td>
                    <td class="n">{index ? duration(event.at - events[index - 1]!.at) : ""}</td>
                    <td>
                      <b>{event.event}</b>
                    </td>
                    <td class="n">{event.attempt}</td>
                    <td>{event.worker ?? <i>–</i>}</td>
                    <td class="wrap">{event.detail ?? <i>–</i>}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
    </Panel>
  );
}
