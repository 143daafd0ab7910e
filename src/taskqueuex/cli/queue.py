"""`tqx queue`: queues and their settings."""

import functools
from typing import Annotated, Any, Literal

import typer

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.failures import CONFLICT, NOT_FOUND, USAGE, ApiError, Failure
from taskqueuex.cli.inputs import given, json_value
from taskqueuex.cli.terminal import Terminal, age
from taskqueuex.commands.queues import PutQueue

__all__ = ["group"]

group = typer.Typer(no_args_is_help=True, help="Queues: look, create, change, pause, purge, delete.")
app.add_typer(group, name="queue")
_command = functools.partial(asks_server, group)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The name of the queue.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DisciplineOption = Annotated[
    Literal["fifo", "lifo", "priority", "round_robin"] | None,
    typer.Option(help="In which order tasks are served."),
]
PartitionsOption = Annotated[int | None, typer.Option(help="Order holds within a partition.")]
MaxTasksOption = Annotated[int | None, typer.Option(help="The most that may wait.")]
OverflowOption = Annotated[
    Literal["reject", "drop_oldest"] | None, typer.Option(help="What gives way when it is full.")
]
LeaseOption = Annotated[int | None, typer.Option(help="The length of a lease.")]
AttemptsOption = Annotated[int | None, typer.Option(help="Failed attempts before a task is dead.")]
BackoffOption = Annotated[str | None, typer.Option(help='JSON, such as {"base_ms":1000,"factor":2}.')]
ResultTtlOption = Annotated[int | None, typer.Option(help="How long ended tasks can be read.")]
DeadTtlOption = Annotated[int | None, typer.Option(help="How long dead tasks are kept.")]
RateOption = Annotated[str | None, typer.Option(help='JSON, such as {"per_second":10,"burst":20}.')]
RunningOption = Annotated[int | None, typer.Option(help="The most that may run at once.")]
RunningPerGroupOption = Annotated[
    int | None, typer.Option(help="The most of one group that may run at once.")
]
OrderedOption = Annotated[bool | None, typer.Option(help="One task of a group at a time, in order.")]
DurabilityOption = Annotated[
    Literal["durable", "relaxed", "memory"] | None, typer.Option(help="What an acknowledgement means.")
]
ParentsOption = Annotated[bool | None, typer.Option(help="Hand parents' results to workers.")]


@_command("list")
def list_queues(
    tqx: Terminal,
    active: Annotated[bool, typer.Option("--active", help="Leave out those at rest.")] = False,
) -> None:
    """All queues, with how many tasks are in which state."""
    answer = tqx.client.ask("list_queues", query={"active": "true" if active else None})
    if tqx.is_json:
        tqx.json(answer)
        return
    states = ("ready", "running", "scheduled", "retrying", "blocked", "dead")
    rows = []
    for queue in answer["queues"]:
        counts = (queue["counts"].get(state, 0) for state in states)
        oldest = age(queue["oldest_ready_age_ms"])
        paused = "paused" if queue["paused"] else ""
        rows.append(
            (
                queue["name"],
                queue["discipline"],
                *counts,
                oldest,
                queue["rates"]["in"],
                queue["rates"]["out"],
                paused,
            )
        )
    tqx.table(("queue", "discipline", *states, "oldest", "in/s", "out/s", ""), rows)


@_command("show")
def show(tqx: Terminal, name: Name) -> None:
    """A queue: its settings, counts, rates and latencies."""
    _show(tqx, tqx.client.ask("get_queue", name))


@_command("why")
def why(tqx: Terminal, name: Name) -> None:
    """Why a queue is slow, the worst reason first."""
    answer = tqx.client.ask("queue_why", name)
    if tqx.is_json:
        tqx.json(answer)
        return
    if not answer["reasons"]:
        tqx.line(f"nothing holds {name} up")
    tqx.reasons(answer["reasons"])


@_command("groups")
def groups(
    tqx: Terminal,
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 100,
) -> None:
    """Which groups share a queue, those with the most ready tasks first."""
    answer = tqx.client.ask("queue_groups", name, query={"limit": limit})
    if tqx.is_json:
        tqx.json(answer)
        return
    if not answer["kept"]:
        tqx.line(f"{name} does not look at groups: it is not round_robin, and has no limit per group")
        return
    tqx.table(
        ("group", "weight", "ready", "running", "retrying", "share", ""),
        (
            (
                "(none)" if each["group"] is None else each["group"],
                each["weight"],
                each["ready"],
                each["running"],
                each["retrying"],
                None if each["share"] is None else f"{each['share']:.1%}",
                "held up" if each["held_up"] else "",
            )
            for each in answer["groups"]
        ),
    )
    if not answer["complete"]:
        tqx.note(f"only {answer['scanned']} groups were looked at: there may be more")


def _show(tqx: Terminal, queue: dict[str, Any]) -> None:
    if tqx.is_json:
        tqx.json(queue)
    else:
        tqx.facts(queue)


@_command("create")
def create(
    tqx: Terminal,
    name: Name,
    discipline: DisciplineOption = None,
    partitions: PartitionsOption = None,
    max_tasks: MaxTasksOption = None,
    overflow: OverflowOption = None,
    lease_ms: LeaseOption = None,
    max_attempts: AttemptsOption = None,
    backoff: BackoffOption = None,
    result_ttl_ms: ResultTtlOption = None,
    dead_ttl_ms: DeadTtlOption = None,
    rate_limit: RateOption = None,
    max_running: RunningOption = None,
    max_running_per_group: RunningPerGroupOption = None,
    ordered_groups: OrderedOption = None,
    durability: DurabilityOption = None,
    with_parents: ParentsOption = None,
) -> None:
    """Create a queue; exit code 4 where there is one already."""
    settings = _settings(locals())
    if _exists(tqx, name):
        raise Failure(f"there is a queue {name} already: change it with tqx queue set", CONFLICT)
    _show(tqx, tqx.client.ask("put_queue", name, body=settings))


@_command("set")
def set_queue(
    tqx: Terminal,
    name: Name,
    discipline: DisciplineOption = None,
    partitions: PartitionsOption = None,
    max_tasks: MaxTasksOption = None,
    overflow: OverflowOption = None,
    lease_ms: LeaseOption = None,
    max_attempts: AttemptsOption = None,
    backoff: BackoffOption = None,
    result_ttl_ms: ResultTtlOption = None,
    dead_ttl_ms: DeadTtlOption = None,
    rate_limit: RateOption = None,
    max_running: RunningOption = None,
    max_running_per_group: RunningPerGroupOption = None,
    ordered_groups: OrderedOption = None,
    durability: DurabilityOption = None,
    with_parents: ParentsOption = None,
    reset: Annotated[
        list[str] | None, typer.Option(metavar="SETTING", help="Restore a default; may be repeated.")
    ] = None,
) -> None:
    """Change settings of a queue; those not given stay."""
    settings = _settings(locals())
    for field in reset or ():
        key = field.replace("-", "_")
        if key not in PutQueue.__struct_fields__:
            raise Failure(f"--reset: there is no setting {field!r}", USAGE)
        settings[key] = None
    if not settings:
        raise Failure("nothing to change: name a setting", USAGE)
    if not _exists(tqx, name):
        raise Failure(f"there is no queue {name}: make it with tqx queue create", NOT_FOUND)
    _show(tqx, tqx.client.ask("put_queue", name, body=settings))


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The settings among a command's options, as the body of a PUT."""
    settings = given({field: options.get(field) for field in PutQueue.__struct_fields__})
    for field in ("backoff", "rate_limit"):
        if field in settings:
            settings[field] = json_value(settings[field], f"--{field.replace('_', '-')}")
    return settings


def _exists(tqx: Terminal, name: str) -> bool:
    try:
        tqx.client.call("get_queue", name)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


@_command("pause")
def pause(tqx: Terminal, name: Name) -> None:
    """Hand out nothing more; what runs goes on."""
    _done(tqx, tqx.client.ask("pause_queue", name), f"{name} is paused")


@_command("resume")
def resume(tqx: Terminal, name: Name) -> None:
    """Hand out again."""
    _done(tqx, tqx.client.ask("resume_queue", name), f"{name} is served")


@_command("purge")
def purge(tqx: Terminal, name: Name, yes: Yes = False) -> None:
    """Cancel all tasks that wait."""
    counts = tqx.client.ask("get_queue", name)["counts"]
    waiting = sum(counts.get(state, 0) for state in ("ready", "scheduled", "retrying", "blocked"))
    tqx.confirm(f"Cancel the {waiting} tasks that wait in {name}?", yes)
    answer = tqx.client.ask("purge_queue", name)
    _done(tqx, answer, f"{answer['changed']} of {answer['matched']} cancelled")


@_command("delete")
def delete(
    tqx: Terminal,
    name: Name,
    force: Annotated[
        bool, typer.Option(help="Also with live tasks: cancels what waits, revokes leases.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Forget a queue and its settings."""
    tqx.client.call("get_queue", name)
    tqx.confirm(f"Delete the queue {name}{' and cancel its tasks' if force else ''}?", yes)
    query = {"force": "true"} if force else None
    answer = tqx.client.ask("delete_queue", name, query=query)
    _done(tqx, answer, f"{name} is deleted, {answer['changed']} tasks cancelled")


def _done(tqx: Terminal, answer: Any, text: str) -> None:
    if tqx.is_json:
        tqx.json(answer)
    else:
        tqx.line(text)
