// Tasks as rows, which can be selected where a selection is wanted.

import { line } from "../format";
import { noteTasks } from "../search";
import type { Task } from "../types";
import { Ago, Grid, QueueLink, State, TaskLink } from "./show";

interface Selection {
  ids: ReadonlySet<string>;
  onChange: (ids: ReadonlySet<string>) => void;
}

interface Props {
  tasks: Task[];
  label: string;
  selection?: Selection | undefined;
  withQueue?: boolean;
}

export function TaskTable({ tasks, label, selection, withQueue = true }: Props) {
  noteTasks(tasks);
  const all = selection !== undefined && tasks.length > 0 && tasks.every((task) => selection.ids.has(task.id));
  const toggle = (id: string) => {
    const ids = new Set(selection!.ids);
    if (!ids.delete(id)) ids.add(id);
    selection!.onChange(ids);
  };
  return (
    <Grid
      label={label}
      head={
        <>
          {selection && (
            <th>
              <input
                type="checkbox"
                aria-label="Select all that are shown"
                checked={all}
                onChange={() => selection.onChange(all ? new Set() : new Set(tasks.map((task) => task.id)))}
              />
            </th>
          )}
          <th>task</th>
          <th>state</th>
          {withQueue && <th>queue</th>}
          <th>name</th>
          <th>group</th>
          <th class="n">attempt</th>
          <th class="n">priority</th>
          <th class="n">created</th>
          <th>payload or last error</th>
        </>
      }
    >
      {tasks.map((task) => (
        <tr key={task.id}>
          {selection && (
            <td>
              <input
                type="checkbox"
                aria-label={`Select ${task.id}`}
                checked={selection.ids.has(task.id)}
                onChange={() => toggle(task.id)}
              />
            </td>
          )}
          <td>
            <TaskLink id={task.id} />
          </td>
          <td>
            <State state={task.state} />
          </td>
          {withQueue && (
            <td>
              <QueueLink name={task.queue} />
            </td>
          )}
          <td>{task.name || <i>–</i>}</td>
          <td>{task.group ?? <i>–</i>}</td>
          <td class="n">
            {task.attempt} of {task.max_attempts}
          </td>
          <td class="n">{task.priority}</td>
          <td class="n">
            <Ago at={task.created_at} />
          </td>
          <td class="text">{lastWord(task)}</td>
        </tr>
      ))}
    </Grid>
  );
}

function lastWord(task: Task): string {
  const error = task.errors.at(-1);
  const failed = error && task.state !== "completed";
  if (failed) return line(`${error.type}: ${error.message}`, 90);
  return task.payload === undefined ? "–" : line(JSON.stringify(task.payload), 90);
}
