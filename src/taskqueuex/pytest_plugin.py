"""The pytest plugin: a server in memory, and its clock. It is found by pytest where this is installed.

@pytest.fixture
def app(taskqueuex_server):
    return taskqueuex_server.attach(shop.app)

def test_an_order_is_settled(app):
    shop.settle.enqueue(42, qty=1.0)
    app.run_until_idle()
"""

from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["taskqueuex_clock", "taskqueuex_server"]


@pytest.fixture
def taskqueuex_server() -> Iterator[Any]:
    """A `taskqueuex.testing.MemoryServer`, new for each test."""
    from taskqueuex.testing.server import MemoryServer  # only where a test asks for it

    with MemoryServer() as server:
        yield server


@pytest.fixture
def taskqueuex_clock(taskqueuex_server: Any) -> Any:
    """The clock of that server: `taskqueuex_clock.advance(60)`."""
    return taskqueuex_server.clock
