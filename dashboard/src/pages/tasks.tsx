// What a search finds, page by page; the search itself is in the head of the page.

import { useEffect, useState } from "preact/hooks";
import { withQuery } from "../api";
import { plural } from "../format";
import { bulk } from "../parts/bulk";
import { usePoll } from "../parts/poll";
import { Act, Empty, Failure, Loaded } from "../parts/show";
import { TaskTable } from "../parts/tasktable";
import { route, toTasks } from "../router";
import { bulkFilter, parseSearch, writeSearch } from "../search";
import { may, mayAny } from "../session";
import { STATES, type BulkAction, type TaskPage } from "../types";

const PAGE = 100;
const ACTIONS: BulkAction[] = ["retry", "cancel", "delete"];

export function Tasks() {
  const text = route.value.query.get("q") ?? "";
  const { filter, error } = parseSearch(text);
  return (
    <>
      <h1>Tasks</h1>
      <div class="tabs" role="group" aria-label="State">
        {[undefined, ...STATES].map((state) => (
          <a
            key={state ?? "any"}
            class="button"
            aria-current={filter.state === state ? "true" : undefined}
            href={toTasks(writeSearch({ ...filter, ...(state ? { state } : { state: "" }) }))}
          >
            {state ?? "any state"}
          </a>
        ))}
      </div>
      {error ? <p class="failure">{error}</p> : <Found key={text} text={text} filter={filter} />}
    </>
  );
}

function Found({ text, filter }: { text: string; filter: ReturnType<typeof parseSearch>["filter"] }) {
  const [cursors, setCursors] = useState<string[]>([]);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const cursor = cursors.at(-1);
  const page = usePoll<TaskPage>(withQuery("/v1/tasks", { ...filter, limit: PAGE, cursor }), 4_000);
  useEffect(() => setSelected(new Set()), [cursor]);

  const tasks = page.data?.tasks ?? [];
  const operates = mayAny("operate") && tasks.some((task) => may("operate", task.queue));
  const narrowed = Object.keys(filter).length > 0;
  const change = async (action: BulkAction) => {
    const done = selected.size
      ? await bulk(action, [{ id: [...selected] }], plural(selected.size, "selected task"))
      : await bulk(action, [bulkFilter(filter)], `all that the search finds: ${text}`);
    if (done) {
      setSelected(new Set());
      page.reload();
    }
  };
  return (
    <>
      <div class="bar">
        {operates && (
          <span class="acts">
            {ACTIONS.map((action) => (
              <Act
                key={action}
                class={action === "retry" ? "" : "danger"}
                // Without a selection it is for all that is found; of everything there is, nobody means that.
                disabled={!selected.size && !narrowed}
                onAct={() => change(action)}
              >
                {selected.size ? `${title(action)} ${selected.size} selected…` : `${title(action)} all found…`}
              </Act>
            ))}
          </span>
        )}
        <span class="acts pages">
          <button disabled={!cursors.length} onClick={() => setCursors(cursors.slice(0, -1))}>
            Page before
          </button>
          <button disabled={!page.data?.cursor} onClick={() => setCursors([...cursors, page.data!.cursor!])}>
            Next page
          </button>
        </span>
      </div>
      {page.error && page.data && <Failure error={page.error} />}
      <Loaded of={page}>
        {(data) =>
          data.tasks.length ? (
            <TaskTable
              tasks={data.tasks}
              label="Tasks"
              selection={operates ? { ids: selected, onChange: setSelected } : undefined}
            />
          ) : (
            <Empty>
              {data.cursor ? "Nothing on this page; there may be more on the next." : "No task matches. Names, tags and groups match as a whole."}
            </Empty>
          )
        }
      </Loaded>
    </>
  );
}

const title = (action: BulkAction): string => action[0]!.toUpperCase() + action.slice(1);
