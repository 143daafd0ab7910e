"""What the tests of the deploy files share: the files, programs that run, and a client that trusts nobody."""

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.shared.programs import TIMEOUT_S, Program, environment

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def run(*command: object, **settings: Any) -> str:
    """What a command prints; an AssertionError with all it said where it fails."""
    done = subprocess.run(
        [str(each) for each in command],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=300,
        **{"env": environment(), **settings},
    )
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def fails(*command: object, **settings: Any) -> str:
    """What a command says that has to fail."""
    done = subprocess.run(
        [str(each) for each in command],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=300,
        **{"env": environment(), **settings},
    )
    assert done.returncode != 0, f"{command} did not fail\n{done.stdout}"
    return done.stdout


def made_token(socket: str, *arguments: object) -> str:
    """What `tqx token create` makes: it is on the last line of the output."""
    command = ["tqx", "--server", socket, "token", "create", *(str(each) for each in arguments)]
    told = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True, env=environment())
    return told.stdout.split()[-1]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Returns what a condition returns once that is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {TIMEOUT_S} s"
        time.sleep(0.02)
    return found


def replaced(text: str, replacements: dict[str, str]) -> str:
    """A text with each key replaced; one that is not in it is an error."""
    for old, new in replacements.items():
        assert old in text, f"there is no {old!r} any more"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Certificates:
    """PEM files."""

    ca: Path
    certificate: Path
    key: Path
    both: Path  # the key and the certificate, as haproxy wants them


@dataclass
class Server:
    """A server that runs."""

    program: Program
    data: Path


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One keep-alive connection to a server, or to what stands before it."""

    def __init__(self, port: int, ca: Path | None = None, token: str = "", source: str = "") -> None:
        host = ("localhost", port, TIMEOUT_S)
        sender = (source, 0) if source else None
        self._connection: http.client.HTTPConnection
        if ca is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", *host[1:], source_address=sender)
        else:
            context = ssl.create_default_context(cafile=str(ca))
            self._connection = http.client.HTTPSConnection(
                host[0] if not source else "127.0.0.1",
                port,
                timeout=TIMEOUT_S,
                context=context,
                source_address=sender,
            )
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, content, self._headers | headers)
        answer = self._connection.getresponse()
        return Reply(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )

    def good(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.call(method, path, body)
        assert reply.status in (200, 201), (method, path, reply)
        return reply.json

    def close(self) -> None:
        self._connection.close()
