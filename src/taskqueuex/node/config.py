"""The configuration: frozen sections, read once at the start, passed down.

Three sources, each over the one before: a TOML file, the environment, flags. Every problem of all
three is found before any is reported, so that a configuration is mended in one go.

    file           [network] listen = ["127.0.0.1:7470"]
    environment    TQX_NETWORK_LISTEN=127.0.0.1:7470,127.0.0.1:7471
    flags          {"network.listen": "127.0.0.1:7470"}, as the command line passes them

The settings in common use have short names in the environment too (`SHORT_NAMES`).
"""

import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from taskqueuex.access.overload import OverloadConfig
from taskqueuex.commands.limits import BODY_BYTES_MAX
from taskqueuex.network.config import NetworkConfig, parse_listener

__all__ = [
    "SHORT_NAMES",
    "AuthConfig",
    "ConfigError",
    "EventsConfig",
    "LogConfig",
    "NetworkConfig",
    "NodeConfig",
    "OverloadConfig",
    "StorageConfig",
    "TelemetryConfig",
    "WriterConfig",
    "load",
]

ENVIRONMENT_PREFIX: Final = "TQX_"


class ConfigError(ValueError):
    """A configuration that cannot be used; `problems` says everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Where tasks are kept, and how much memory and how many threads that may take."""

    data: str = "./taskqueuex-data"  # a directory, made where it does not exist
    preset: Literal["small", "default", "throughput"] = "default"
    cache_mb: int | None = None  # of the block cache; None: the preset's
    reserve_mb: int = 256  # free space below which tasks are refused, so that acks still have room
    pool_size: int = 2  # threads that read cold tasks; more than 2 were slower in our measurements


@dataclass(frozen=True, slots=True)
class WriterConfig:
    """The turn."""

    commit: Literal["inline", "thread"] = "inline"  # where a batch is synced: in the turn, or beside it
    inbox_max: int = 20_000  # calls that wait for their turn; beyond: 503
    idempotency_max: int = 1_000_000  # keys that are remembered; beyond: the oldest are forgotten


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """What is kept of what happened, for those who ask for it later."""

    kept_max: int = 2_000_000  # events, of about 70 bytes; 0: none is, and a stream cannot be resumed
    kept_hours: int = 24  # however few there are


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may call."""

    required: bool = False  # credentials are needed even while there is no token
    audit_days: int = 90  # how long it is kept who did what


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """Where the metrics are sent, beside being there for Prometheus."""

    otlp_endpoint: str | None = None  # of a collector, http:// or https://; /v1/metrics is put behind it
    otlp_interval_s: float = 15.0  # between two exports


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """All sections."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    writer: WriterConfig = field(default_factory=WriterConfig)
    events: EventsConfig = field(default_factory=EventsConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    overload: OverloadConfig = field(default_factory=OverloadConfig)
    log: LogConfig = field(default_factory=LogConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)


_SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "network": NetworkConfig,
        "storage": StorageConfig,
        "writer": WriterConfig,
        "events": EventsConfig,
        "auth": AuthConfig,
        "overload": OverloadConfig,
        "log": LogConfig,
        "telemetry": TelemetryConfig,
    }
)

SHORT_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TQX_DATA": "storage.data",
        "TQX_LISTEN": "network.listen",
        "TQX_PRESET": "storage.preset",
        "TQX_LOG_LEVEL": "log.level",
        "TQX_LOG_FORMAT": "log.format",
    }
)
# Of the command line, not of the server.
_NOT_OURS: Final = frozenset(
    "TQX_" + each for each in ("SERVER", "OUTPUT", "CONFIG", "TOKEN", "TOKEN_FILE", "CA", "CERT", "KEY")
)

_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "network.backlog": (1, 65_535),
        "network.max_connections": (1, 1_000_000),
        "network.max_connections_per_address": (0, 1_000_000),
        "network.request_line_bytes_max": (256, 1 << 20),
        "network.head_bytes_max": (512, 1 << 20),
        "network.headers_max": (8, 10_000),
        "network.body_bytes_max": (1 << 10, BODY_BYTES_MAX),
        "network.pipeline_max": (1, 10_000),
        "network.unread_bytes_max": (64 << 10, 1 << 30),
        "network.idle_timeout_s": (1, 86_400),
        "network.handshake_timeout_s": (1, 3_600),
        "network.head_timeout_s": (1, 3_600),
        "network.body_bytes_per_s_min": (0, 1 << 30),
        "network.request_timeout_s": (1, 86_400),
        "network.read_timeout_s": (1, 3_600),
        "storage.cache_mb": (1, 1 << 20),
        "storage.reserve_mb": (0, 1 << 20),
        "storage.pool_size": (1, 64),
        "writer.inbox_max": (1, 10_000_000),
        "writer.idempotency_max": (0, 1_000_000_000),
        "events.kept_max": (0, 1_000_000_000),
        "events.kept_hours": (1, 876_000),
        "auth.audit_days": (1, 36_500),
        "overload.target_ms": (0.1, 60_000),
        "overload.interval_ms": (1, 600_000),
        "overload.memory_max_mb": (64, 1 << 24),
        "overload.memory_shed_percent": (1, 100),
        "overload.memory_stop_percent": (1, 100),
        "telemetry.otlp_interval_s": (1, 3_600),
    }
)


@dataclass(frozen=True, slots=True)
class _Setting:
    """One value that some source gives: `source` is how the user finds it again."""

    name: str  # section.key
    value: Any
    source: str


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> NodeConfig:
    """The configuration of a node.

    `file` is a TOML file or None; `environ` the environment; `flags` values by `section.key`, where
    None means not given. Raises ConfigError with every problem.
    """
    problems: list[str] = []
    settings = [
        *_of_file(file, problems),
        *_of_environment(environ, problems),
        *(_Setting(name, value, _flag(name)) for name, value in flags.items() if value is not None),
    ]
    values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for setting in settings:
        _take(setting, values, problems)
    if problems:
        raise ConfigError(problems)
    return NodeConfig(**{name: section(**values[name]) for name, section in _SECTIONS.items()})


def _flag(name: str) -> str:
    """What a setting is called on the command line."""
    section, _, key = name.partition(".")
    return "--" + (f"log-{key}" if section == "log" else key).replace("_", "-")


def _of_file(file: Path | None, problems: list[str]) -> list[_Setting]:
    if file is None:
        return []
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror or error}")
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{file}: is not TOML: {error}")
        return []
    settings = []
    for section, keys in content.items():
        if section not in _SECTIONS or not isinstance(keys, dict):
            problems.append(f"{file}: {section}: there is no such section (there are {', '.join(_SECTIONS)})")
            continue
        settings += [
            _Setting(f"{section}.{key}", value, f"{file}: {section}.{key}") for key, value in keys.items()
        ]
    return settings


def _of_environment(environ: Mapping[str, str], problems: list[str]) -> list[_Setting]:
    settings = []
    for variable in sorted(environ):
        if (
            not variable.startswith(ENVIRONMENT_PREFIX)
            or variable in _NOT_OURS
            or variable.startswith("TQX_TEST_")
        ):
            continue
        name = SHORT_NAMES.get(variable)
        if name is None:
            section, _, key = variable[len(ENVIRONMENT_PREFIX) :].lower().partition("_")
            name = f"{section}.{key}"
        settings.append(_Setting(name, environ[variable], variable))
    return settings


def _take(setting: _Setting, values: dict[str, dict[str, Any]], problems: list[str]) -> None:
    """Puts a setting in its place, over an earlier source's; notes what is wrong with it."""
    section, _, key = setting.name.partition(".")
    kinds = get_type_hints(_SECTIONS[section]) if section in _SECTIONS else {}
    if key not in kinds:
        problems.append(f"{setting.source}: there is no such setting")
        return
    try:
        value = _converted(setting.value, kinds[key])
        _check(setting.name, value)
    except ValueError as error:
        problems.append(f"{setting.source}: {error}")
    else:
        values[section][key] = value


def _converted(value: Any, kind: Any) -> Any:
    """The value as its type. Texts are read as the environment and the command line write them."""
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {value!r}")
        return value
    if kind == int | None:
        kind = int
    if kind == str | None:
        kind = str
    if kind == tuple[str, ...]:
        return _texts(value)
    return _SCALARS[kind](value)


def _texts(value: Any) -> tuple[str, ...]:
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if (
        not isinstance(items, list | tuple)
        or not items
        or not all(isinstance(item, str) and item for item in items)
    ):
        raise ValueError(f"must be one or more texts, not {value!r}")
    return tuple(items)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text that is not empty, not {value!r}")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"must be an integer, not {value!r}") from None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"must be an integer, not {value!r}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"must be a number, not {value!r}") from None


def _truth(value: Any) -> bool:
    found = _TRUTHS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError(f"must be true or false, not {value!r}")
    return found


_TRUTHS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
)
_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    bool: _truth,
    str: _text,
    int: _integer,
    float: _number,
}


def _check(name: str, value: Any) -> None:
    if name == "network.listen":
        for address in value:
            parse_listener(address)
    if name == "network.proxy_from":
        for network in value:
            ipaddress.ip_network(network)
    if name == "telemetry.otlp_endpoint":
        address = urlsplit(value)
        if address.scheme not in ("http", "https") or not address.hostname or address.query:
            raise ValueError(f"must be http://HOST:PORT or https://HOST:PORT, not {value!r}")
        if not _can_export():
            raise ValueError("needs what exports to it: pip install 'taskqueuex[otlp]'")
    if name in _RANGES:
        low, high = _RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {value}")


def _can_export() -> bool:
    """Whether the extra that sends metrics is installed."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http.metric_exporter") is not None
    except ModuleNotFoundError:
        return False


def defaults() -> dict[str, Any]:
    """Every setting by `section.key` with its default, for `tqx serve --help` and the documentation."""
    found = {}
    for name, section in _SECTIONS.items():
        values = section()
        found.update({f"{name}.{each.name}": getattr(values, each.name) for each in fields(section)})
    return found
