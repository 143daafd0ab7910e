"""The servers that the client is tested against."""

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

CLOSE = "close"  # closes the connection instead of answering
RESET = "reset"  # resets it
HANG = "hang"  # neither answers nor closes
ENQUEUED = b'{"id":"01890a5d-ac96-774b-bcce-b302099a8057","state":"ready"}'


def answer(status: int = 201, body: bytes = ENQUEUED, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def problem(status: int, code: str, *headers: str, outcome: str = "not_applied") -> bytes:
    body = f'{{"type":"t","title":"t","status":{status},"detail":"d","code":"{code}","outcome":"{outcome}"}}'
    return answer(status, body.encode(), *headers)


class RealServer:
    """`tqx serve` on a free port; started again, it has the same. `options`: of TLS, which it then speaks."""

    def __init__(self, data: Path, *options: str) -> None:
        self.port = 0
        self._data = data
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._log: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._options else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(self._data)]
        command += ["--listen", f"{'tls:' if self._options else ''}127.0.0.1:{self.port}", *self._options]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TQX_")}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
        assert process.stderr is not None
        for line in iter(process.stderr.readline, ""):
            found = re.search(r"https?://127.0.0.1:([0-9]+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            raise AssertionError("the server did not start")
        self._process = process
        self._log = threading.Thread(target=process.stderr.read, daemon=True)
        self._log.start()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.wait(30)
        assert self._log is not None and process.stderr is not None
        self._log.join()
        process.stderr.close()


class ScriptedServer:
    """Answers each request with the next step; when there is none left, as to an enqueue.

    A step is the bytes of an answer, a list of its pieces, a tuple of bytes and what to do behind them, or a
    word. With `tls` it
    speaks TLS; handshakes that failed are in `refused`.
    """

    def __init__(self, *steps: Any, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.refused: list[OSError] = []
        self.steps = deque(steps)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = threading.Semaphore(0)  # released by each request
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def keys(self) -> list[str | None]:
        """The Idempotency-Key of each request."""
        return [headers.get("idempotency-key") for _, headers, _ in self.requests]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for each in self._open:
            with contextlib.suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._open.append(connection)  # which has taken the other's place
            if not self._shake_hands(connection):
                return
        # The client may go at any time.
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while self._answer(connection, stream):
                pass

    def _shake_hands(self, connection: ssl.SSLSocket) -> bool:
        try:
            connection.do_handshake()
        except OSError as error:
            self.refused.append(error)
            self._linger(socket.socket(fileno=connection.detach()))
            return False
        return True

    def _linger(self, connection: socket.socket) -> None:
        """Until the client has read why: closing over what it sent would reset the connection."""
        self._open.append(connection)
        with connection, contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

    def _answer(self, connection: socket.socket, stream: Any) -> bool:
        line = stream.readline().decode()
        if not line:
            return False
        headers = {}
        while (row := stream.readline().decode().strip()) != "":
            name, _, value = row.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        self.requests.append((line.strip(), headers, body))
        self.arrived.release()
        step = self.steps.popleft() if self.steps else answer()
        if isinstance(step, list):
            for piece in step:
                connection.sendall(piece)  # over TLS, a record each
            return True
        content, then = step if isinstance(step, tuple) else (b"", step)
        if isinstance(then, bytes):
            connection.sendall(then)
            return True
        connection.sendall(content)
        if then == RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then == HANG:
            stream.read(1)  # until one of the ends closes
        return False
