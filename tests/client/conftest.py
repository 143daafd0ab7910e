"""A real server process, servers that misbehave as they are told, and both shells behind one face."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskqueuex.client import AsyncClient, Client

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.client.servers import RealServer, ScriptedServer  # noqa: E402  (behind the path)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that serves all tests; each takes a queue of its own."""
    running = RealServer(tmp_path_factory.mktemp("client") / "data")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RealServer]:
    """A server that a test may kill."""
    running = RealServer(tmp_path / "data")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    """Makes servers that answer by a script."""
    made: list[ScriptedServer] = []

    def make(*steps: Any) -> ScriptedServer:
        made.append(ScriptedServer(*steps))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue that no other test uses."""
    return "".join(each if each.isalnum() else "-" for each in request.node.name)[:120]


class _Awaited:
    """An AsyncClient whose methods are run to their end."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def with_options(self, **options: Any) -> "_Awaited":
        return _Awaited(self._runner, self._client.with_options(**options))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients, of the one shell and of the other."""
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make(servers: Any, **options: Any) -> Any:
            if request.param == "sync":
                made.append(Client(servers, **options))
            else:
                made.append(_Awaited(runner, AsyncClient(servers, **options)))
            return made[-1]

        yield make
        for each in made:
            each.close()
