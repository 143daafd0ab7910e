"""The programs under measurement: started on free loopback ports, pinned to one core, stopped by pid.

Each is a `Server` with a ready check; TaskQueueX and its peers are treated alike. A peer that is not
installed raises `NotInstalled`, and its lines are left out (see install_peers.sh).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1
READY_WITHIN_S = 30.0


class NotInstalled(Exception):
    """The program is not on this machine."""


def pin(core: int) -> Callable[[], None] | None:
    """Return what a child process calls to move to one core; None where there is no second core."""
    if not hasattr(os, "sched_setaffinity") or core not in os.sched_getaffinity(0) or os.cpu_count() == 1:
        return None
    return lambda: os.sched_setaffinity(0, {core})


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """One running program."""

    def __init__(self, name: str, arguments: list[str], port: int, data: Path) -> None:
        self.name = name
        self.port = port
        self.tls_port = 0
        """Where it speaks TLS, if it does."""
        self.data = data
        """Its directory; the caller removes it."""
        self.environment: dict[str, str] = {}
        """Set for the process, over what it inherits."""
        self.log = data.parent / f"{data.name}.log"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that does the work."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        """Return the process and its children (nginx works in a child)."""
        return [self.pid, *children_of(self.pid)]

    def start(self, ready: Callable[[int], bool]) -> None:
        """Start it and return when `ready(port)` is true.

        Raises:
            RuntimeError: it ended, or was not ready within 30 s; the message holds the end of its log.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=pin(SERVER_CORE),
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                ending = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start:\n{ending}")
            time.sleep(0.005)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, by force after 10 s."""
        self._end(signal.SIGTERM)

    def _end(self, signal_number: int) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def children_of(pid: int) -> list[int]:
    """Return the child processes of ``pid``."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def answers_http(path: str) -> Callable[[int], bool]:
    """Return a ready check: GET ``path`` answers 200."""

    def ready(port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    return ready


def accepts(port: int) -> bool:
    """Ready check: something listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotInstalled(name)
    return found


def _postgres_program(name: str) -> str:
    """Debian keeps them out of the way, by version."""
    for found in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True):
        return str(found)
    return _program(name)


class Bench:
    """The directory of one run, on the disk to be measured, and the servers started in it."""

    def __init__(self, parent: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="taskqueuex-bench-", dir=parent))
        self.load = self.directory / "load"
        self._number = 0

    def compile_load(self) -> None:
        """Build load.c with the system's C compiler."""
        source = Path(__file__).with_name("load.c")
        subprocess.run(["cc", "-O2", "-std=c11", "-o", self.load, source], check=True)

    def remove(self) -> None:
        """Delete all data of the run."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _data(self, name: str) -> Path:
        self._number += 1
        data = self.directory / f"{self._number}-{name}"
        data.mkdir()
        return data

    @contextlib.contextmanager
    def _running(self, server: Server, ready: Callable[[int], bool]) -> Iterator[Server]:
        try:
            server.start(ready)
            yield server
        finally:
            server.stop()
            shutil.rmtree(server.data, ignore_errors=True)

    def taskqueuex(self) -> contextlib.AbstractContextManager[Server]:
        """Our server: one process, durable by default."""
        port, data = free_port(), self._data("taskqueuex")
        command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(data)]
        server = Server("taskqueuex", [*command, "--listen", f"127.0.0.1:{port}"], port, data)
        server.environment = {"MALLOC_ARENA_MAX": "2"}  # as the documentation advises
        return self._running(server, answers_http("/readyz"))

    def taskqueuex_tls(self) -> contextlib.AbstractContextManager[Server]:
        """Our server, listening plainly and with TLS: a certificate of its own, by openssl."""
        port, tls_port, data = free_port(), free_port(), self._data("taskqueuex")
        certificate, key = data.parent / "certificate.pem", data.parent / "key.pem"
        subprocess.run(
            [
                *(
                    _program("openssl"),
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ),
                *("-nodes", "-subj", "/CN=localhost", "-days", "2", "-out", certificate, "-keyout", key),
            ],
            check=True,
            capture_output=True,
        )
        listen = ["--listen", f"127.0.0.1:{port}", "--listen", f"tls:127.0.0.1:{tls_port}"]
        files = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        command = [sys.executable, "-m", "taskqueuex.cli", "serve", "--data", str(data), *listen, *files]
        server = Server("taskqueuex", command, port, data)
        server.tls_port = tls_port
        server.environment = {"MALLOC_ARENA_MAX": "2"}
        return self._running(server, answers_http("/readyz"))

    def redis(self) -> contextlib.AbstractContextManager[Server]:
        """Redis as durable as ours: one fsync before the replies of each turn."""
        port, data = free_port(), self._data("redis")
        options = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"]
        command = [_program("redis-server"), "--port", str(port), "--dir", str(data), *options]
        return self._running(Server("redis", command, port, data), accepts)

    def redis_volatile(self) -> contextlib.AbstractContextManager[Server]:
        """Redis that keeps nothing on disk, as brokers are often run."""
        port, data = free_port(), self._data("redis-volatile")
        options = ["--appendonly", "no", "--save", "", "--bind", "127.0.0.1"]
        command = [_program("redis-server"), "--port", str(port), "--dir", str(data), *options]
        return self._running(Server("redis-volatile", command, port, data), accepts)

    def postgres(self) -> contextlib.AbstractContextManager[Server]:
        """PostgreSQL with its defaults: durable, an fsync before each commit."""
        port, data = free_port(), self._data("postgres")
        # It refuses to run as root.
        as_user = []
        if os.getuid() == 0:
            shutil.chown(data, "postgres")
            data.parent.chmod(0o755)
            as_user = [_program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        initdb = [*as_user, _postgres_program("initdb"), "-A", "trust", "-U", "postgres", "-D", str(data)]
        done = subprocess.run(initdb, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb: {done.stderr}")
        options = ["-p", str(port), "-k", str(data), "-h", "127.0.0.1"]
        command = [*as_user, _postgres_program("postgres"), "-D", str(data), *options]
        return self._running(Server("postgres", command, port, data), accepts)

    def beanstalkd(self) -> contextlib.AbstractContextManager[Server]:
        """beanstalkd with its binlog, an fsync after every write."""
        port, data = free_port(), self._data("beanstalkd")
        command = [_program("beanstalkd"), "-l", "127.0.0.1", "-p", str(port), "-b", str(data), "-f0"]
        return self._running(Server("beanstalkd", command, port, data), accepts)

    def nginx(self) -> contextlib.AbstractContextManager[Server]:
        """nginx that answers 200 and does nothing else: what HTTP itself costs on this machine."""
        port, data = free_port(), self._data("nginx")
        configuration = data / "nginx.conf"
        configuration.write_text(
            f"worker_processes 1; daemon off; pid {data}/pid; error_log {data}/error.log;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off; keepalive_requests 1000000000;\n"
            f"  client_body_temp_path {data}/body; proxy_temp_path {data}/proxy;\n"
            f"  fastcgi_temp_path {data}/fastcgi; uwsgi_temp_path {data}/uwsgi; scgi_temp_path {data}/scgi;\n"
            f"  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 'ok'; }} }} }}\n"
        )
        command = [_program("nginx"), "-c", str(configuration), "-p", str(data), "-e", f"{data}/error.log"]
        return self._running(Server("nginx", command, port, data), answers_http("/"))
