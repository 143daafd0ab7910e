"""A server and workers that run, calls to it, and a page of a browser that notes what goes wrong in it."""

import http.client
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request
from tests.shared.programs import TIMEOUT_S, Program, environment, free_port

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
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


def tqx(*arguments: object, directory: Path = HERE, **variables: str) -> Program:
    """Starts tqx."""
    command = [sys.executable, "-m", "taskqueuex.cli", *map(str, arguments)]
    return Program(command, cwd=directory, env=environment(**variables))


class Server:
    """A server, and calls to it in the name of a token."""

    def __init__(self, data: Path, token: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self._program = tqx("serve", "--data", data, "--listen", f"127.0.0.1:{self.port}")
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

    def names(self) -> list[str]:
        """What the buttons of the page are called."""
        found = self.page.get_by_role("button").all()
        return [each.get_attribute("aria-label") or each.inner_text() for each in found]

    def errors_without(self, deleted: str) -> list[str]:
        """Those of the console, but that a path is not there: its page may have asked once more before it was
        left."""
        gone = re.compile(rf"\b(404|410)\b.*{re.escape(deleted)}\b")
        return [each for each in self.errors if not gone.search(each)]

    def violations(self) -> list[Any]:
        """What axe finds of weight."""
        self.page.evaluate(self._axe.read_text())
        return [each for each in self.page.evaluate(RUN_AXE) if each["impact"] in SERIOUS]

    def close(self) -> None:
        self.context.close()
