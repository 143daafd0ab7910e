"""A real server for a module, and real workers of the examples; they run where a reader would run them."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "worker"))
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "django_app"))

from processes import Program, Server

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("data"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def start_worker(server):
    """Starts workers, which end with the module."""
    started = []

    def start(app, cwd=EXAMPLES, **env):
        worker = Program("taskqueuex.cli", "worker", app, cwd=cwd, env={"TQX_SERVER": server.url, **env})
        started.append(worker)
        worker.wait_for("worker ready")
        return worker

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture(scope="module")
def example(server):
    """Imports a module of the examples, whose app then goes to the test's server."""
    apps = []

    def load(name):
        module = importlib.import_module(name)
        module.app.use_servers(server.url)
        apps.append(module.app)
        return module

    yield load
    for app in apps:
        app.use_servers(None)
