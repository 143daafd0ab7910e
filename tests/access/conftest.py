"""Servers that ask for credentials: in memory with a clock to turn, and as processes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from access_wire import ServerProcess, Wire, token_of

from taskqueuex.testing import MemoryServer


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


@pytest.fixture
def connect(server) -> Iterator[Callable[..., Wire]]:
    """Connections to a server; closed with the test."""
    made: list[Wire] = []

    def wire(token: str | None = None, url: str | None = None) -> Wire:
        made.append(Wire(url or server.url, token))
        return made[-1]

    yield wire
    for each in made:
        each.close()


@pytest.fixture
def admin(connect) -> Wire:
    """A connection with the first token of the server."""
    wire = connect()
    wire.token = token_of(wire, "admin", name="root")["token"]
    return wire


@pytest.fixture
def as_holder(admin, connect) -> Callable[..., Wire]:
    """A connection with a new token of some scopes."""
    return lambda *scopes, **more: connect(token_of(admin, *scopes, **more)["token"])


@pytest.fixture
def new_token(admin) -> Callable[..., Any]:
    return lambda *scopes, **more: token_of(admin, *scopes, **more)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., ServerProcess]]:
    """Server processes of a test's own, on one data directory; those that run are ended with it."""
    started: list[ServerProcess] = []

    def begin(*more: str, **keywords: Any) -> ServerProcess:
        started.append(ServerProcess(tmp_path / "data", *more, **keywords))
        return started[-1]

    yield begin
    for each in started:
        if not each.process.stderr.closed:
            each.end()
