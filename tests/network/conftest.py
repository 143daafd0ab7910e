"""Servers for the tests of the network."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskqueuex.network import NetworkConfig

sys.path.insert(0, str(Path(__file__).parent))

from wires import Application, Running, Wire, request_bytes


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers with the settings given."""
    started: list[Running] = []

    def start(**settings: Any) -> Running:
        running = Running(NetworkConfig(listen=("127.0.0.1:0",), **settings))
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def running(serve: Callable[..., Running]) -> Running:
    return serve()


@pytest.fixture
def app(running: Running) -> Application:
    return running.app


@pytest.fixture
def wire(running: Running) -> Wire:
    return running.connect()


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Makes the bytes of a request."""
    return request_bytes
