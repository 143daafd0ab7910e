"""A real server process, servers that misbehave as they are told, and both shells behind one face."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.client.secure import Certificates, TlsFront  # noqa: E402  (behind the path)
from tests.client.servers import RealServer, ScriptedServer  # noqa: E402
from tests.client.shells import Connect, connecting  # noqa: E402


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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and what it signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def front(certificates: Certificates) -> Iterator[Callable[..., TlsFront]]:
    """Makes servers that take TLS off what goes to a plain port."""
    made: list[TlsFront] = []

    def make(port: int, **options: Any) -> TlsFront:
        made.append(TlsFront(certificates.context(**options), port))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def scheme() -> str:
    """How scripted servers are reached; a module may say otherwise."""
    return "http"


@pytest.fixture
def scripted(scheme: str, certificates: Certificates) -> Iterator[Callable[..., ScriptedServer]]:
    """Makes servers that answer by a script."""
    made: list[ScriptedServer] = []

    def make(*steps: Any) -> ScriptedServer:
        tls = certificates.context() if scheme == "https" else None
        made.append(ScriptedServer(*steps, tls=tls))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue that no other test uses."""
    return "".join(each if each.isalnum() else "-" for each in request.node.name)[:120]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Connect]:
    """Makes clients, of the one shell and of the other."""
    with connecting(request.param, certificates) as make:
        yield make
