"""Calls that depend on each other: chains, groups, chords, and any graph without cycles.

A call that waits for others can take what they return: where an argument is a node (or a list of
nodes), the worker puts the results in its place, when all have ended. Which results go where stands in
the task's meta, as indexes into its parents: `{"trades": [0, 1], "limit": 2}`.
"""

import time
from collections.abc import Sequence
from typing import Any, Unpack

import msgspec
from msgspec import UNSET

from taskqueuex.app.control import ArgumentError
from taskqueuex.app.handle import Handle
from taskqueuex.app.options import TaskOptions
from taskqueuex.app.task import Owner, Signature, Task
from taskqueuex.commands.produce import Dependency, OnFailure, WorkflowReply, WorkflowTask

__all__ = [
    "INPUTS",
    "Element",
    "Node",
    "Workflow",
    "WorkflowHandle",
    "chain",
    "chord",
    "fill_in",
    "group",
]

INPUTS = "taskqueuex.inputs"
"""The meta entry that says which results go into which parameters."""


class Node:
    """A task of a workflow that is being built. As an argument of another, it stands for its result."""

    __slots__ = ("_task", "ref")

    def __init__(self, ref: str, task: Task[Any, Any]) -> None:
        self.ref = ref
        self._task = task

    def __repr__(self) -> str:
        return f"<Node {self.ref}: {self._task.name}>"

    def handle(self, reply: WorkflowReply) -> Handle[Any]:
        """The node's task, now that the workflow is enqueued."""
        return self._task.handle(reply.ids[self.ref])


class Element:
    """A chain, group or chord: what can be enqueued, and be a part of another one."""

    def add_to(self, workflow: "Workflow", previous: "Node | list[Node] | None") -> "Node | list[Node]":
        """Adds what is needed to a workflow. Returns the node, or list of nodes, of its end."""
        raise NotImplementedError

    def enqueue(self, name: str = "") -> "WorkflowHandle":
        """Puts all of it in, or nothing. `name` is shown with the workflow."""
        workflow = Workflow(name)
        return workflow._enqueue(self.add_to(workflow, None))

    async def enqueue_async(self, name: str = "") -> "WorkflowHandle":
        """As `enqueue`."""
        workflow = Workflow(name)
        return await workflow._enqueue_async(self.add_to(workflow, None))


Part = Signature[Any] | Element


class _Chain(Element):
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def add_to(self, workflow: "Workflow", previous: "Node | list[Node] | None") -> "Node | list[Node]":
        for part in self._parts:
            previous = _add(workflow, part, previous)
        assert previous is not None, "a chain has parts"
        return previous


class _Group(Element):
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def add_to(self, workflow: "Workflow", previous: "Node | list[Node] | None") -> "Node | list[Node]":
        ends: list[Node] = []
        for part in self._parts:
            end = _add(workflow, part, previous)
            ends += end if isinstance(end, list) else [end]
        return ends


def _add(workflow: "Workflow", part: Part, previous: "Node | list[Node] | None") -> "Node | list[Node]":
    if isinstance(part, Signature):
        return workflow._add(part, previous, (), None)
    return part.add_to(workflow, previous)


def chain(*parts: Part) -> Element:
    """One after another. Each result becomes the first required argument that the next one lacks.

    One that lacks none is just run later. After a group, the argument is the list of its results.
    """
    return _Chain(_checked(parts, "chain"))


def group(*parts: Part) -> Element:
    """Beside each other. Its result is the list of theirs."""
    return _Group(_checked(parts, "group"))


def chord(header: Sequence[Part], callback: Part) -> Element:
    """A group, then a call with the list of its results: `chain(group(...), callback)`."""
    return chain(group(*header), callback)


def _checked(parts: Sequence[Part], what: str) -> Sequence[Part]:
    for part in parts:
        if not isinstance(part, Signature | Element):
            raise ArgumentError(f"{what}: {part!r} is no call: write task.s(...)")
    if not parts:
        raise ArgumentError(f"{what}: needs at least one call")
    return parts


class Workflow:
    """Any graph, built node by node:

    day = Workflow("trading day")
    trades = day.add(ingest.s("2026-11-24"))
    checked = [day.add(risk.s(trades, limit=limit)) for limit in limits]
    day.add(settle.s(trades, checked))
    day.add(report.s(), after=checked, on_failure="run")
    handle = day.enqueue()
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._tasks: list[WorkflowTask] = []
        self._nodes: dict[str, Node] = {}
        self._waited_for: set[str] = set()
        self._owner: Owner | None = None

    def add(
        self,
        signature: Signature[Any],
        *,
        after: Sequence[Node] = (),
        on_failure: OnFailure | None = None,
        **options: Unpack[TaskOptions],
    ) -> Node:
        """Adds a call, which waits for the nodes among its arguments and those of `after`.

        `on_failure`: what becomes of it when one of them fails: `cancel` (default), `run`, `hold`.
        """
        if options:
            signature = Signature(signature.task.options(**options), signature.args, signature.kwargs)
        return self._add(signature, None, after, on_failure)

    def enqueue(self) -> "WorkflowHandle":
        """Puts all of it in, or nothing. Its result is the results of the nodes that nothing waits for."""
        return self._enqueue(self._ends())

    async def enqueue_async(self) -> "WorkflowHandle":
        """As `enqueue`."""
        return await self._enqueue_async(self._ends())

    def _add(
        self, signature: Signature[Any], previous: Any, after: Sequence[Node], on_failure: OnFailure | None
    ) -> Node:
        task = signature.task
        bound = task.arguments.bind(signature.args, signature.kwargs)
        after = list(after)
        if previous is not None:
            missing = task.arguments.missing(bound)
            if missing:
                setattr(bound, missing[0], previous)
            else:
                after += previous if isinstance(previous, list) else [previous]
        inputs = self._take_inputs(task, bound)
        for name in task.arguments.missing(bound):
            if name not in inputs:
                raise ArgumentError(f"{task.name}: {name}: is missing")
        if inputs and callable(task.given.get("unique_key")):
            name = next(iter(inputs))
            raise ArgumentError(f"{task.name}: unique_key: cannot be made while {name} is another's result")
        return self._append(signature, bound, inputs, after, on_failure)

    def _take_inputs(self, task: Task[Any, Any], bound: msgspec.Struct) -> dict[str, Node | list[Node]]:
        """The arguments that are nodes, which leave the payload."""
        inputs: dict[str, Node | list[Node]] = {}
        for name in task.arguments.names:
            value = getattr(bound, name)
            if (
                isinstance(value, list) and value and all(isinstance(each, Node) for each in value)
            ) or isinstance(value, Node):
                inputs[name] = value
            else:
                continue
            setattr(bound, name, UNSET)
        return inputs

    def _append(
        self,
        signature: Signature[Any],
        bound: msgspec.Struct,
        inputs: dict[str, Node | list[Node]],
        after: Sequence[Node],
        on_failure: OnFailure | None,
    ) -> Node:
        task = signature.task
        ref = f"{len(self._tasks)}"
        parents: dict[str, int] = {}  # ref -> its place among the parents
        for value in inputs.values():
            for node in value if isinstance(value, list) else [value]:
                parents.setdefault(self._known(node).ref, len(parents))
        for node in after:
            parents.setdefault(self._known(node).ref, len(parents))
        payload = task.arguments.encode(bound, partial=True)
        fields = task.fields_with(payload, signature.args, signature.kwargs)
        if inputs:
            fields["meta"] = {**fields.get("meta", {}), INPUTS: _places_of(inputs, parents)}
            fields["with_parents"] = True
        # The nodes first: the places of inputs count from the first parent.
        edges = [Dependency(each, on_failure) for each in parents]
        fields["depends_on"] = [*edges, *fields.get("depends_on", ())]
        self._tasks.append(WorkflowTask(ref=ref, queue=task.queue, **fields))
        self._waited_for.update(parents)
        self._owner = task.owner
        node = self._nodes[ref] = Node(ref, task)
        return node

    def _known(self, node: Node) -> Node:
        if self._nodes.get(node.ref) is not node:
            raise ArgumentError(f"{node!r} is of another workflow")
        return node

    def _ends(self) -> list[Node]:
        return [node for ref, node in self._nodes.items() if ref not in self._waited_for]

    def _app(self) -> Owner:
        if self._owner is None:
            raise ArgumentError("workflow: needs at least one call")
        return self._owner

    def _enqueue(self, end: Any) -> "WorkflowHandle":
        owner = self._app()
        reply = owner.client.create_workflow(tasks=self._tasks, name=self.name)
        return WorkflowHandle(reply, self._nodes, end)

    async def _enqueue_async(self, end: Any) -> "WorkflowHandle":
        owner = self._app()
        reply = await owner.async_client.create_workflow(tasks=self._tasks, name=self.name)
        return WorkflowHandle(reply, self._nodes, end)


def _places_of(inputs: dict[str, Node | list[Node]], parents: dict[str, int]) -> str:
    """`{"limit": 2, "trades": [0, 1], "all": "3:900"}`: meta is small, so neighbours are a range."""
    places: dict[str, int | str | list[int]] = {}
    for name, value in inputs.items():
        if isinstance(value, Node):
            places[name] = parents[value.ref]
            continue
        listed = [parents[node.ref] for node in value]
        first = listed[0]
        in_a_row = listed == list(range(first, first + len(listed)))
        places[name] = f"{first}:{first + len(listed)}" if in_a_row else listed
    return msgspec.json.encode(places).decode()


def fill_in(payload: bytes, places: str, results: Sequence[bytes]) -> bytes:
    """The payload with the results of the parents in their places: the other end of `_places_of`."""
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    for name, place in msgspec.json.decode(places, type=dict[str, int | str | list[int]]).items():
        if isinstance(place, int):
            fields[name] = msgspec.Raw(results[place])
            continue
        if isinstance(place, str):
            first, _, end = place.partition(":")
            chosen = list(results[int(first) : int(end)])
        else:
            chosen = [results[each] for each in place]
        fields[name] = msgspec.Raw(b"[" + b",".join(chosen) + b"]")
    return msgspec.json.encode(fields)


class WorkflowHandle:
    """A workflow that was enqueued. `handles` has one for each task, in the order they were added."""

    def __init__(self, reply: WorkflowReply, nodes: dict[str, Node], end: Node | list[Node]) -> None:
        self.id = reply.id
        self.handles = [node.handle(reply) for node in nodes.values()]
        self._end: Handle[Any] | list[Handle[Any]] = (
            [node.handle(reply) for node in end] if isinstance(end, list) else end.handle(reply)
        )

    def __repr__(self) -> str:
        return f"WorkflowHandle({self.id!r})"

    def result(self, timeout: float | None = None) -> Any:
        """What its end returned: of a group, the list of results. Raises as a handle's `result` does."""
        if not isinstance(self._end, list):
            return self._end.result(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        return [handle.result(_remaining(until)) for handle in self._end]

    async def result_async(self, timeout: float | None = None) -> Any:
        """As `result`."""
        if not isinstance(self._end, list):
            return await self._end.result_async(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        return [await handle.result_async(_remaining(until)) for handle in self._end]


def _remaining(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())
