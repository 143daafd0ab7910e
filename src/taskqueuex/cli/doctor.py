"""`tqx doctor`: what of this machine would hold the server back, and how to change it.

The disk is measured, not asked: a durable acknowledgement takes one fdatasync, so its latency is
the floor of every durable call.
"""

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import typer
from rich.text import Text

from taskqueuex import __version__
from taskqueuex.cli.app import app
from taskqueuex.cli.terminal import console

__all__ = ["Finding", "doctor", "examine"]

Status = Literal["ok", "warn", "bad"]

_FILES_WARN, _FILES_BAD = 65_536, 4_096
_BACKLOG_WARN = 16_384  # what the server asks for: it holds a burst of ten thousand
_FSYNC_ROUNDS = 50
_FSYNC_WARN_MS, _FSYNC_BAD_MS = 2.0, 15.0
_FREE_WARN, _FREE_BAD = 5 << 30, 512 << 20
_LIBRARIES = ("uvloop", "httptools", "msgspec", "rocksdict")
_COLOURS = {"ok": "green", "warn": "yellow", "bad": "red"}


class Finding(NamedTuple):
    """One thing that was looked at; `advice` says what to change and how, empty when it is well."""

    status: Status
    what: str
    found: str
    advice: str = ""


@app.command("doctor")
def doctor(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="The data directory, or where it will be.")
    ] = Path("./taskqueuex-data"),
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="How to show it.")
    ] = "table",
) -> None:
    """Look at this machine: limits, disk, processor, libraries. Exit code 1 where something is bad."""
    findings = []
    for finding in examine(data):
        findings.append(finding)
        if output == "table":
            _print(finding)
    if output == "json":
        rows = [finding._asdict() for finding in findings]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
    if any(finding.status == "bad" for finding in findings):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    line = Text(f"{finding.status:<5}", style=_COLOURS[finding.status])
    line.append(f"{finding.what}: {finding.found}", style="default")
    console().print(line)
    if finding.advice:
        console().print(Text(f"     {finding.advice}"))


def examine(data: Path) -> Iterator[Finding]:
    """Every finding, in the order of their weight."""
    yield _versions()
    yield _files()
    yield _backlog()
    yield _handshakes()
    directory = _existing(data)
    yield _free(directory)
    yield _fsync(directory)
    yield _processors()
    yield _governor()


def _versions() -> Finding:
    libraries = []
    for name in _LIBRARIES:
        try:
            libraries.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return Finding(
                "bad", "libraries", f"{name} is missing", "pip install taskqueuex, in a fresh venv"
            )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Finding("ok", "versions", f"tqx {__version__}, {python}, {', '.join(libraries)}")


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (the server raises it to {hard})" if soft < hard else str(soft)
    advice = "each connection takes one: LimitNOFILE=1048576 in the systemd unit, or ulimit -Hn 1048576"
    if hard != resource.RLIM_INFINITY and hard < _FILES_WARN:
        return Finding("bad" if hard < _FILES_BAD else "warn", "open files", found, advice)
    return Finding("ok", "open files", found)


def _backlog() -> Finding:
    value = _read_int("/proc/sys/net/core/somaxconn")
    if value is None:
        return Finding("ok", "somaxconn", f"not known here; the system's constant is {socket.SOMAXCONN}")
    if value < _BACKLOG_WARN:
        advice = f"bursts of connections are refused: sysctl -w net.core.somaxconn={_BACKLOG_WARN}"
        return Finding("warn", "somaxconn", str(value), advice)
    return Finding("ok", "somaxconn", str(value))


def _handshakes() -> Finding:
    """Connections whose handshake is not over. With SYN cookies there is no bound to them."""
    value = _read_int("/proc/sys/net/ipv4/tcp_max_syn_backlog")
    if value is None:
        return Finding("ok", "SYN backlog", "not known here")
    cookies = bool(_read_int("/proc/sys/net/ipv4/tcp_syncookies"))
    found = f"{value}, {'and SYN cookies beyond' if cookies else 'without SYN cookies'}"
    if value < _BACKLOG_WARN and not cookies:
        advice = f"bursts wait for a second: sysctl -w net.ipv4.tcp_max_syn_backlog={_BACKLOG_WARN}"
        return Finding("warn", "SYN backlog", found, advice)
    return Finding("ok", "SYN backlog", found)


def _existing(data: Path) -> Path:
    """The data directory, or the nearest one above that exists."""
    directory = data.absolute()
    while not directory.is_dir():
        directory = directory.parent
    return directory


def _free(directory: Path) -> Finding:
    usage = shutil.disk_usage(directory)
    found = f"{usage.free / (1 << 30):.1f} GiB free on the disk of {directory}"
    if usage.free < _FREE_WARN:
        advice = "enqueues are refused when it is full: make room, or name another --data"
        return Finding("bad" if usage.free < _FREE_BAD else "warn", "disk space", found, advice)
    return Finding("ok", "disk space", found)


def _fsync(directory: Path) -> Finding:
    try:
        latencies = _measure_fsync(directory)
    except OSError as error:
        return Finding(
            "bad", "disk sync", f"{directory}: {error.strerror}", "the server must be able to write here"
        )
    median, worst = latencies[len(latencies) // 2], latencies[-1]
    found = f"fdatasync of 4 KiB: median {median:.2f} ms, worst of {len(latencies)}: {worst:.2f} ms"
    advice = "every durable call waits for one: a local SSD with power-loss protection, or durability relaxed"
    if median > _FSYNC_WARN_MS:
        return Finding("bad" if median > _FSYNC_BAD_MS else "warn", "disk sync", found, advice)
    if median < 0.02:
        told = "too fast for a disk: does it honour a flush? On tmpfs nothing survives a power cut"
        return Finding("warn", "disk sync", found, told)
    return Finding("ok", "disk sync", found)


def _measure_fsync(directory: Path) -> list[float]:
    """Milliseconds of each sync of an append, as the log does it, sorted."""
    latencies = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        block = os.urandom(4_096)
        for _ in range(_FSYNC_ROUNDS):
            file.write(block)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            latencies.append((time.perf_counter() - started) * 1_000)
    return sorted(latencies)


def _processors() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if usable < 2:
        advice = "the server fills one core; its workers and the disk want another"
        return Finding("warn", "processors", f"{usable} usable", advice)
    return Finding("ok", "processors", f"{usable} usable of {os.cpu_count()}")


def _governor() -> Finding:
    try:
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return Finding("ok", "frequency governor", "not known here")
    if governor in ("powersave", "ondemand", "conservative"):
        advice = "latency suffers while the clock ramps up: cpupower frequency-set -g performance"
        return Finding("warn", "frequency governor", governor, advice)
    return Finding("ok", "frequency governor", governor)


def _read_int(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
