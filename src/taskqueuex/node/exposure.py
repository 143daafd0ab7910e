"""Whether a server may listen where it is told to: beyond loopback only with TLS and credentials."""

from collections.abc import Iterable

from taskqueuex.network.config import Listener

__all__ = ["Exposed", "check_exposure"]


class Exposed(OSError):
    """The server would be open to a network; says where and what is missing."""


def check_exposure(listeners: Iterable[Listener], guarded: bool) -> None:
    """Raises Exposed where a listener can be reached from other machines without TLS, or without
    credentials (`guarded`: they are asked for)."""
    problems = []
    for listener in listeners:
        if listener.loopback:
            continue
        where = f"{listener.host}:{listener.port}"
        if not listener.tls:
            problems.append(
                f"{where} can be reached from other machines and has no TLS: "
                f"listen on tls:{where}, with --tls-certificate and --tls-key"
            )
        if not guarded:
            problems.append(
                f"{where} can be reached from other machines and asks for no credentials: make a token "
                "first, with tqx token create --data DIR --scope admin NAME"
            )
    if problems:
        raise Exposed("; ".join(problems) + "; or say --insecure, if the network keeps others out")
