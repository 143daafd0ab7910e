"""One server for a module; a worker for a test, which chooses its app and options."""

import importlib
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from processes import Server, Worker


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("data"))
    yield started
    started.kill()


@pytest.fixture
def start(server):
    """Starts workers; all are ended with the test."""
    started = []

    def start_worker(app, *arguments, **more):
        worker = Worker(server, app, *arguments, **more)
        started.append(worker)
        return worker

    yield start_worker
    for worker in started:
        worker.kill()


@pytest.fixture
def sample(server):
    """The app of most tests, whose tasks go to queues that only this test uses."""
    module = importlib.import_module("sample_app")
    module.app.use_servers(server.url)
    module.app.client.bulk(action="cancel", filter={"state": "ready"})
    yield module
    module.app.close()


@pytest.fixture
def queue():
    """A name for this test alone."""
    return f"q-{uuid.uuid4().hex[:10]}"
