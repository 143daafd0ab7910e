"""The shells behind one face: the methods of all of them return when the call has ended."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import uvloop
from tests.client.secure import Certificates

from taskqueuex.client import AsyncClient, Client

Connect = Callable[..., Any]


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


@contextlib.contextmanager
def connecting(shell: str, certificates: Certificates) -> Iterator[Connect]:
    """Makes clients of a shell: sync, async or uvloop. They trust the authority of the tests."""
    made: list[Any] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if shell == "uvloop" else None) as runner:

        def make(servers: Any, **options: Any) -> Any:
            if any("https://" in each for each in ([servers] if isinstance(servers, str) else servers)):
                options.setdefault("tls", certificates.trust)
            if shell == "sync":
                made.append(Client(servers, **options))
            else:
                made.append(_Awaited(runner, AsyncClient(servers, **options)))
            return made[-1]

        yield make
        for each in made:
            each.close()
