// Workflows: the newest first, and each as a graph of its tasks.

import { post, v1, withQuery } from "../api";
import { plural } from "../format";
import { Graph } from "../parts/graph";
import { usePoll } from "../parts/poll";
import { Act, Ago, Empty, Fact, Grid, Loaded, Panel, State, Tag } from "../parts/show";
import { act, ask } from "../parts/talk";
import { TaskTable } from "../parts/tasktable";
import { to } from "../router";
import { mayAny } from "../session";
import { STATES, type Workflow } from "../types";

const SHOWN = 200;

export function Workflows() {
  const workflows = usePoll<{ workflows: Workflow[]; cursor: string | null }>("/v1/workflows?limit=100", 3_000);
  return (
    <>
      <h1>Workflows</h1>
      <Loaded of={workflows}>
        {({ workflows: all, cursor }) =>
          all.length ? (
            <>
              <Grid
                label="Workflows"
                head={
                  <>
                    <th>workflow</th>
                    <th>name</th>
                    <th>state</th>
                    <th>tasks</th>
                    <th class="n">created</th>
                  </>
                }
              >
                {all.map((workflow) => (
                  <tr key={workflow.id}>
                    <td>
                      <a class="id" href={to("workflows", workflow.id)}>
                        {workflow.id}
                      </a>
                    </td>
                    <td>{workflow.name || <i>–</i>}</td>
                    <td>
                      <Tag tone={toneOf(workflow.state)}>{workflow.state}</Tag>
                    </td>
                    <td>
                      <Counts counts={workflow.counts} />
                    </td>
                    <td class="n">
                      <Ago at={workflow.created_at} />
                    </td>
                  </tr>
                ))}
              </Grid>
              {cursor && <p class="foot">These are the newest {all.length}.</p>}
            </>
          ) : (
            <Empty>There are no workflows.</Empty>
          )
        }
      </Loaded>
    </>
  );
}

const toneOf = (state: string): "bad" | "good" | "" => (state === "failed" ? "bad" : state === "completed" ? "good" : "");

const Counts = ({ counts }: { counts: Workflow["counts"] }) => (
  <span class="acts">
    {STATES.filter((state) => counts[state]).map((state) => (
      <span key={state}>
        {counts[state]} <State state={state} />
      </span>
    ))}
  </span>
);

export function WorkflowPage({ name: id }: { name: string }) {
  const workflow = usePoll<Workflow>(withQuery(v1("workflows", id), { limit: SHOWN }), 1_500);
  const cancel = async (tasks: number) => {
    const yes = await ask({
      title: "Cancel this workflow?",
      body: <p>What has not ended of its {plural(tasks, "task")} is cancelled.</p>,
      yes: "Cancel it",
      danger: true,
    });
    if (yes && (await act(() => post(v1("workflows", id, "cancel")), "Cancelled"))) workflow.reload();
  };
  return (
    <Loaded of={workflow}>
      {(data) => {
        const tasks = data.tasks ?? [];
        const open = STATES.slice(0, 5).some((state) => data.counts[state]);
        return (
          <>
            <div class="title">
              <h1>{data.name || "Workflow"}</h1>
              <Tag tone={toneOf(data.state)}>{data.state}</Tag>
              <code>{data.id}</code>
              {open && mayAny("operate") && (
                <span class="acts">
                  <Act class="danger" onAct={() => cancel(tasks.length)}>
                    Cancel…
                  </Act>
                </span>
              )}
            </div>
            <dl class="facts panel">
              <Fact name="tasks">
                <Counts counts={data.counts} />
              </Fact>
              <Fact name="created">
                <Ago at={data.created_at} />
              </Fact>
            </dl>
            {tasks.length > 0 && (
              <Panel title="Graph">
                <Graph
                  label="Tasks and what they depend on"
                  nodes={tasks.map(({ id, name, state, depends_on }) => ({ id, name, state, dependsOn: depends_on }))}
                />
                {data.cursor && <p class="foot">These are {tasks.length} of its tasks; it has more.</p>}
              </Panel>
            )}
            <TaskTable tasks={tasks} label="Tasks of the workflow" />
          </>
        );
      }}
    </Loaded>
  );
}
