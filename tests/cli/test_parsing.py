"""The command line without a server: help, usage errors, configuration, exit codes."""

import json
import os
import socket
import subprocess
import sys

import pytest
from openapi_spec_validator import validate
from typer.testing import CliRunner

from taskqueuex.cli import doctor as doctor_module
from taskqueuex.cli.app import app, run
from taskqueuex.cli.register import nouns
from taskqueuex.cli.terminal import age, at, printable

nouns()

COMMANDS = {
    "serve": [],
    "enqueue": [],
    "bulk": [],
    "stats": [],
    "bench": [],
    "top": [],
    "backup": [],
    "restore": [],
    "doctor": [],
    "openapi": [],
    "queue": ["list", "show", "create", "set", "pause", "resume", "purge", "delete"],
    "task": ["list", "show", "history", "why", "cancel", "retry", "kill", "delete", "edit"],
    "dead": ["list", "retry", "delete"],
    "workflow": ["list", "show", "cancel"],
    "schedule": ["list", "show", "set", "pause", "resume", "trigger", "delete"],
    "workers": ["list", "quiet", "resume", "stop"],
    "storage": ["check"],
    "token": ["create", "list", "revoke"],
    "audit": [],
    "tls": ["self-signed", "client"],
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in os.environ:
        if name.startswith("TQX_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "words",
    [
        [],
        *([noun] for noun in COMMANDS),
        *([noun, verb] for noun, verbs in COMMANDS.items() for verb in verbs),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(words):
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output and len(result.output) > 200


def test_the_version_is_said(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tqx 0.")


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["queue", "nonsense"],
        ["enqueue"],
        ["enqueue", "q", "not json"],
        ["enqueue", "q", "--priority", "high"],
        ["enqueue", "q", "--meta", "novalue"],
        ["enqueue", "q", "--backoff", "{"],
        ["queue", "set", "q"],
        ["schedule", "set", "s", "--queue", "q"],
        ["schedule", "set", "s", "--queue", "q", "--cron", "* * * * *", "--every-ms", "100"],
        ["schedule", "set", "s", "--every-ms", "100"],
        ["schedule", "set", "s", "--queue", "q", "--every-ms", "100", "not json"],
        ["queue", "set", "q", "--reset", "colour"],
        ["queue", "create", "q", "--discipline", "random"],
        ["task", "show"],
        ["task", "edit", "x"],
        ["task", "list", "--state", "asleep"],
        ["bulk", "explode", "--queue", "q"],
        ["bulk", "retry"],
        ["dead", "retry"],
        ["stats", "--output", "xml"],
        ["stats", "--server", "ftp://host"],
        ["stats", "--server", "http://host:port"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_code_2(words, capsys):
    assert run(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("tqx: ") and told.err.count("\n") == 1


@pytest.fixture
def closed_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_a_server_that_is_not_there_is_exit_code_5(closed_port, capsys):
    assert run(["stats", "--server", f"127.0.0.1:{closed_port}"]) == 5
    assert "no answer from" in capsys.readouterr().err


def test_the_server_is_taken_from_the_environment_and_the_flag_wins(closed_port, capsys, monkeypatch):
    monkeypatch.setenv("TQX_SERVER", "http://127.0.0.1:1")
    assert run(["queue", "list"]) == 5
    assert "127.0.0.1:1:" in capsys.readouterr().err
    assert run(["--server", f"127.0.0.1:{closed_port}", "queue", "list"]) == 5
    assert f":{closed_port}:" in capsys.readouterr().err


def test_every_problem_of_a_configuration_is_said_at_once(tmp_path, capsys, monkeypatch):
    file = tmp_path / "tqx.toml"
    file.write_text('[network]\nlisten = 7\nport = 1\n[storage]\npool_size = "x"\n[colours]\n')
    monkeypatch.setenv("TQX_WRITER_INBOX_MAX", "0")
    assert run(["serve", "--config", str(file), "--listen", "nowhere"]) == 2
    told = capsys.readouterr().err
    for problem in (
        "network.listen",
        "network.port",
        "storage.pool_size",
        "colours",
        "TQX_WRITER_INBOX_MAX",
        "--listen",
    ):
        assert problem in told
    assert told.count("tqx: ") == 6


def test_a_data_directory_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = tqx("serve", "--data", str(tmp_path / "file" / "data"), "--listen", "127.0.0.1:0")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_store_that_is_not_there_is_one_line(tmp_path):
    for words in (["storage", "check", "--data"], ["restore", "nothing", "--data"]):
        result = tqx(*words, str(tmp_path / "none"))
        assert result.returncode == 1
        assert result.stderr.startswith("tqx: ") and len(result.stderr.splitlines()) == 1


def test_the_interface_is_printed_and_valid(capsys):
    assert run(["openapi"]) == 0
    validate(json.loads(capsys.readouterr().out))


def test_a_reader_that_leaves_is_no_error():
    command = [sys.executable, "-m", "taskqueuex.cli", "openapi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_completion_names_the_commands():
    environ = {**os.environ, "_TQX_COMPLETE": "complete_bash", "COMP_WORDS": "tqx q", "COMP_CWORD": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "taskqueuex.cli"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout.split() == ["queue"]


def test_the_doctor_looks_at_everything(tmp_path, capsys):
    code = run(["doctor", "--data", str(tmp_path / "not" / "there"), "--output", "json"])
    findings = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(findings) == {
        "versions",
        "open files",
        "somaxconn",
        "SYN backlog",
        "disk space",
        "disk sync",
        "processors",
        "frequency governor",
    }
    assert all(each["advice"] for each in findings.values() if each["status"] != "ok")
    assert code == (1 if any(each["status"] == "bad" for each in findings.values()) else 0)


def test_the_doctor_says_what_to_change(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor_module.resource, "getrlimit", lambda which: (1_024, 1_024))
    monkeypatch.setattr(doctor_module, "_measure_fsync", lambda directory: [20.0] * 50)
    assert run(["doctor", "--data", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "bad  open files: 1024" in told and "LimitNOFILE" in told
    assert "bad  disk sync" in told


@pytest.mark.parametrize(("cookies", "status"), [(1, "ok"), (0, "warn")])
def test_the_doctor_knows_what_syn_cookies_are_for(monkeypatch, cookies, status):
    values = {"tcp_max_syn_backlog": 128, "tcp_syncookies": cookies}
    monkeypatch.setattr(doctor_module, "_read_int", lambda path: values[path.rpartition("/")[2]])
    finding = doctor_module._handshakes()
    assert (finding.status, bool(finding.advice)) == (status, status == "warn")


def test_text_of_others_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\u202e") == "a\\x1b[2Jb\\u202e"
    assert printable("é ok") == "é ok"


def test_times_are_readable():
    assert at(1_700_000_000_123) == "2023-11-14 22:13:20.123Z"
    assert at(None) == "-"
    assert [age(value) for value in (None, 500, 61_000, 7_260_000, 90_000_000)] == [
        "-",
        "0.5s",
        "1m 1s",
        "2h 1m",
        "1d 1h",
    ]


def tqx(*words):
    return subprocess.run(
        [sys.executable, "-m", "taskqueuex.cli", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
