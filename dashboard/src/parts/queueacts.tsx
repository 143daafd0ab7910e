// What can be done to a queue.

import { post, v1 } from "../api";
import { count, plural } from "../format";
import { may } from "../session";
import type { Queue } from "../types";
import { Act } from "./show";
import { act, ask } from "./talk";

export const resume = (name: string): Promise<boolean> =>
  act(() => post(v1("queues", name, "resume")), `${name} hands out again`);

const pause = (name: string): Promise<boolean> => act(() => post(v1("queues", name, "pause")), `${name} is paused`);

const waits = ({ counts }: Queue): number => counts.ready + counts.scheduled + counts.retrying + counts.blocked;

async function purge(queue: Queue): Promise<boolean> {
  const held = waits(queue);
  const yes = await ask({
    title: `Purge ${queue.name}?`,
    body: (
      <p>
        {plural(held, "task")} that wait in it are cancelled. What runs goes on. This cannot be undone.
      </p>
    ),
    yes: `Cancel ${count(held)}`,
    danger: true,
    typed: String(held),
  });
  if (!yes) return false;
  return act(() => post(v1("queues", queue.name, "purge")), `${queue.name} is purged`);
}

export function QueueActs({ queue, onDone }: { queue: Queue; onDone: () => void }) {
  if (!may("operate", queue.name)) return null;
  const then = async (change: Promise<boolean>) => {
    if (await change) onDone();
  };
  return (
    <span class="acts">
      {queue.paused ? (
        <Act class="primary" aria-label={`Resume ${queue.name}`} onAct={() => then(resume(queue.name))}>
          Resume
        </Act>
      ) : (
        <Act aria-label={`Pause ${queue.name}`} onAct={() => then(pause(queue.name))}>
          Pause
        </Act>
      )}
      <Act
        class="danger"
        aria-label={`Purge ${queue.name}`}
        disabled={!waits(queue)}
        onAct={() => then(purge(queue))}
      >
        Purge…
      </Act>
    </span>
  );
}
