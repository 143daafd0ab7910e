// Dead letters, by queue, name and error: one thing to mend is one row.

import { useState } from "preact/hooks";
import { count, line, plural } from "../format";
import { bulk } from "../parts/bulk";
import { usePoll } from "../parts/poll";
import { Act, Ago, Empty, Grid, Loaded, QueueLink, Tag } from "../parts/show";
import { to, toTasks } from "../router";
import { writeSearch } from "../search";
import { may, mayAny } from "../session";
import type { BulkFilter, DeadGroup } from "../types";

// A group without an error (tasks that were killed) cannot be told apart by a filter: all of its name are meant.
const filterOf = ({ queue, name, error }: DeadGroup): BulkFilter => ({
  state: "dead",
  queue,
  name,
  ...(error && { error }),
});
const keyOf = ({ queue, name, error }: DeadGroup): string => JSON.stringify([queue, name, error]);
const wordsOf = (group: DeadGroup): string => `${group.queue}, ${group.name || "no name"}, ${group.error || "any error"}`;
const searchOf = ({ queue, name, error }: DeadGroup): string => writeSearch({ state: "dead", queue, name, error });

export function Dead() {
  const groups = usePoll<{ groups: DeadGroup[]; scanned: number; complete: boolean }>("/v1/dead/groups?limit=200", 4_000, false, true);
  return (
    <>
      <h1>Dead letters</h1>
      <Loaded of={groups}>
        {(data) =>
          data.groups.length ? (
            <Groups groups={data.groups} complete={data.complete} onDone={groups.reload} />
          ) : (
            <Empty>There are no dead letters.</Empty>
          )
        }
      </Loaded>
    </>
  );
}

function Groups({ groups, complete, onDone }: { groups: DeadGroup[]; complete: boolean; onDone: () => void }) {
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const changeable = groups.filter((group) => may("operate", group.queue));
  const chosen = changeable.filter((group) => selected.has(keyOf(group)));
  const meant = chosen.length ? chosen : changeable;
  const toggle = (key: string) => {
    const next = new Set(selected);
    if (!next.delete(key)) next.add(key);
    setSelected(next);
  };
  const change = async (action: "retry" | "delete", which: DeadGroup[]) => {
    const words = which.length > 3 ? plural(which.length, "group") : which.map(wordsOf).join("; ");
    if (await bulk(action, which.map(filterOf), words)) {
      setSelected(new Set());
      onDone();
    }
  };
  return (
    <>
      <div class="bar">
        <span>
          {plural(
            groups.reduce((sum, group) => sum + group.count, 0),
            "dead letter",
          )}
          {!complete && " and more"} in {plural(groups.length, "group")}
        </span>
        {changeable.length > 0 && (
          <span class="acts">
            <Act class="primary" onAct={() => change("retry", meant)}>
              {chosen.length ? `Replay ${plural(chosen.length, "group")}…` : "Replay all…"}
            </Act>
            <Act class="danger" disabled={!chosen.length} onAct={() => change("delete", chosen)}>
              Delete…
            </Act>
          </span>
        )}
      </div>
      <Grid
        label="Dead letters by error"
        head={
          <>
            {mayAny("operate") && (
              <th>
                <span class="hidden">selected</span>
              </th>
            )}
            <th>queue</th>
            <th>name</th>
            <th>error</th>
            <th>latest message</th>
            <th class="n">count</th>
            <th class="n">oldest</th>
            <th class="n">latest</th>
            {mayAny("operate") && <th>change</th>}
          </>
        }
      >
        {groups.map((group) => (
          <tr key={keyOf(group)}>
            {mayAny("operate") && (
              <td>
                <input
                  type="checkbox"
                  aria-label={`Select ${wordsOf(group)}`}
                  disabled={!may("operate", group.queue)}
                  checked={selected.has(keyOf(group))}
                  onChange={() => toggle(keyOf(group))}
                />
              </td>
            )}
            <td>
              <QueueLink name={group.queue} />
            </td>
            <td>{group.name || <i>–</i>}</td>
            <td>{group.error ? <Tag tone="bad">{group.error}</Tag> : <i>–</i>}</td>
            <td class="text">
              <a href={to("tasks", group.example)} title={group.message}>
                {line(group.message) || "Open the latest"}
              </a>
            </td>
            <td class="n">
              <a href={toTasks(searchOf(group))}>{count(group.count)}</a>
            </td>
            <td class="n">
              <Ago at={group.oldest_at} />
            </td>
            <td class="n">
              <Ago at={group.latest_at} />
            </td>
            {mayAny("operate") && (
              <td>
                {may("operate", group.queue) && (
                  <Act aria-label={`Replay ${wordsOf(group)}`} onAct={() => change("retry", [group])}>
                    Replay…
                  </Act>
                )}
              </td>
            )}
          </tr>
        ))}
      </Grid>
    </>
  );
}
