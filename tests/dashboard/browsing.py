"""A server and workers that run, calls to it, and a page of a browser that notes what goes wrong in it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TIMEOUT_S = 60
TIMEOUT_MS = TIMEOUT_S * 1_000.0
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SERIOUS = ("serious", "critical")

RUN_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, impact, help, nodes }) =>
    ({ id, impact, help, nodes: nodes.slice(0, 5).map((node) => node.html.slice(0, 200)) }));
}"""
IS_SETTLED = """() => document.querySelector("#main h1") !== null
  && ![...document.querySelectorAll(".empty")].some((each) => each.textContent === "Reading…")"""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Program:
    """A process of tqx whose log is read line by line."""

    def __init__(self, *arguments: object, directory: Path = HERE, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskqueuex.cli", *map(str, arguments)],
            cwd=directory,
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._said:
                self._lines.append(line)
                self._said.notify_all()
        with self._said:
            self._lines.append("(it has ended)")
            self._said.notify_all()

    def wait_for(self, text: str) -> None:
        """Returns when it has said a text."""

        def said() -> bool:
            return any(text in line or line == "(it has ended)" for line in self._lines)

        with self._said:
            assert self._said.wait_for(said, TIMEOUT_S), "".join(self._lines)
            assert any(text in line for line in self._lines), "".join(self._lines)

    def wait_ended(self) -> None:
        """Returns when it has ended by itself, in order."""
        assert self._process.wait(TIMEOUT_S) == 0, "".join(self._lines)

    def stop(self) -> None:
        """Ends it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(TIMEOUT_S)
            assert self._process.stderr is not None
            self._process.stderr.close()


class Server:
    """A server, and calls to it in the name of a token."""

    def __init__(self, data: Path, token: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self._program = Program("serve", "--data", data, "--listen", f"127.0.0.1:{self.port}")
        self._program.wait_for("serving url=")

    def stop(self) -> None:
        self._program.stop()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What the server answers; a failure where that is an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            read = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status} {read.decode()}"
        return json.loads(read)

    def make_token(self, name: str, *scopes: str) -> str:
        return str(self.call("POST", "/v1/tokens", {"name": name, "scopes": scopes})["token"])


class Visit:
    """A page in a context of its own: nobody is signed in. `errors` are those of its console."""

    def __init__(self, browser: Browser, server: Server, axe: Path, theme: Any = "light", width: int = 1280):
        self.server = server
        self._axe = axe
        self.context = browser.new_context(
            base_url=server.url, color_scheme=theme, viewport={"width": width, "height": 900}
        )
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} {message.location}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.server.url:
            self.elsewhere.append(request.url)

    def enter(self, token: str) -> None:
        """Gets a web session, without the form."""
        answer = self.context.request.post("/v1/session", data={"token": token})
        assert answer.ok, answer.text()

    def open(self, path: str) -> Page:
        """Goes to a page, and waits until its data are there."""
        self.page.goto(f"/#/{path}")
        self.page.wait_for_function(IS_SETTLED)
        return self.page

    def names(self, role: Any = "button") -> list[str]:
        """What the buttons of the page are called."""
        found = self.page.get_by_role(role).all()
        return [each.get_attribute("aria-label") or each.inner_text() for each in found]

    def violations(self) -> list[Any]:
        """What axe finds of weight."""
        self.page.evaluate(self._axe.read_text())
        return [each for each in self.page.evaluate(RUN_AXE) if each["impact"] in SERIOUS]

    def close(self) -> None:
        self.context.close()
