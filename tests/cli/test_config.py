"""The configuration: three sources, one order, every problem."""

import json

import pytest

from taskqueuex.node.config import ConfigError, NodeConfig, defaults, load


def problems(file=None, environ=None, flags=None):
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {}, flags or {})
    return caught.value.problems


def test_nothing_said_is_the_defaults():
    assert load(None, {}, {}) == NodeConfig()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "tqx.toml"
    file.write_text('[storage]\ndata = "f"\npreset = "small"\npool_size = 3\n[log]\nlevel = "debug"\n')
    config = load(
        file, {"TQX_DATA": "e", "TQX_STORAGE_PRESET": "throughput"}, {"storage.data": "g", "log.level": None}
    )
    assert (config.storage.data, config.storage.preset, config.storage.pool_size) == ("g", "throughput", 3)
    assert config.log.level == "debug"


def test_every_setting_can_come_from_each_source(tmp_path):
    settings = {name: value for name, value in defaults().items() if value not in (None, ())}
    environ, lines = {}, {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        environ[f"TQX_{section}_{key}".upper()] = text
        shown = [*value] if isinstance(value, tuple) else value
        lines.setdefault(section, []).append(f"{key} = {json.dumps(shown)}")
    file = tmp_path / "all.toml"
    file.write_text("\n".join(f"[{section}]\n" + "\n".join(rows) for section, rows in lines.items()))
    assert load(file, {}, {}) == load(None, environ, {}) == load(None, {}, settings) == NodeConfig()


def test_several_addresses_may_be_given():
    listeners = load(None, {"TQX_LISTEN": "a:1, tls:[::1]:2"}, {}).network.listeners()
    assert [(each.host, each.port, each.tls) for each in listeners] == [("a", 1, False), ("::1", 2, True)]


def test_other_variables_are_left_alone():
    of_clients = ["SERVER", "OUTPUT", "TOKEN", "TOKEN_FILE", "CA", "CERT", "KEY"]
    assert load(None, {"PATH": "/bin", "TQX_CONFIG": "y", **{f"TQX_{each}": "x" for each in of_clients}}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network.listen", "7470"),
        ("network.listen", "host:"),
        ("network.listen", "::1:7470"),
        ("network.listen", "host:99999"),
        ("network.listen", []),
        ("network.listen", [1]),
        ("network.max_connections", 0),
        ("network.max_connections", "many"),
        ("network.max_connections", True),
        ("network.max_connections", 1.5),
        ("network.idle_timeout_s", "soon"),
        ("network.idle_timeout_s", 0),
        ("network.body_bytes_max", 1 << 30),
        ("storage.data", ""),
        ("storage.data", 7),
        ("storage.preset", "huge"),
        ("storage.cache_mb", -1),
        ("storage.pool_size", 0),
        ("writer.commit", "later"),
        ("log.level", "loud"),
        ("log.format", "xml"),
        ("network.colour", 1),
        ("colour", 1),
    ],
)
def test_a_wrong_value_is_one_problem(name, value):
    assert len(problems(flags={name: value})) == 1


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[network\n")
    assert "is not TOML" in problems(broken)[0]
    assert "cannot be read" in problems(tmp_path / "none.toml")[0]
    broken.write_text("network = 1\n")
    assert "no such section" in problems(broken)[0]
