"""The tools that check the deploy files, installed once; and certificates, servers and fronts to drive."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

sys.path.append(str(Path(__file__).resolve().parent))

from deployed import ROOT, Certificates, Server
from tests.shared.programs import Program


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """What is missing is installed; what cannot be is a failure of every test here."""
    subprocess.run(["sh", "scripts/install_deploy_tools.sh"], cwd=ROOT, check=True, timeout=500)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority of the tests, for localhost and the names that the deploy files use."""
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    names = ("localhost", "127.0.0.1", "taskqueuex", "tasks.example.com")
    issued = authority.issue_cert(*names)
    made = Certificates(*(directory / name for name in ("ca.pem", "certificate.pem", "key.pem", "both.pem")))
    authority.cert_pem.write_to_path(made.ca)
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(made.key)
    issued.private_key_and_cert_chain_pem.write_to_path(made.both)
    return made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs that end with the test."""
    started: list[Program] = []

    def begin(*command: object, **settings: object) -> Program:
        started.append(Program([str(each) for each in command], **settings))
        return started[-1]

    yield begin
    for each in reversed(started):
        each.stop()


@pytest.fixture
def serve(start: Callable[..., Program], tmp_path: Path) -> Callable[..., Server]:
    """Starts servers by `tqx serve` with the flags that are given, and waits until they serve."""

    def begin(*flags: object, program: tuple[object, ...] = ("tqx",), **settings: object) -> Server:
        command = (*program, "serve", "--data", tmp_path / "data", *flags)
        running = start(*command, **settings)
        running.wait_for("serving")
        return Server(running, tmp_path / "data")

    return begin
