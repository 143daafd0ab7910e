"""What it costs to know whose a request is: `python benchmarks/identify.py`. Microseconds of CPU a call.

Each figure is the least of several rounds, so that what else the machine does is not in it.
"""

import os
import sys
import time
from collections.abc import Callable

from taskqueuex.access import Access, Visitor, make_token
from taskqueuex.clock import SystemClock
from taskqueuex.commands import COMMANDS
from taskqueuex.commands.access import CreateToken, TokenRate
from taskqueuex.commands.call import Call
from taskqueuex.commands.principal import Peer

CALLS = 100_000
ROUNDS = 7


def cost_us(call: Callable[[], object]) -> float:
    """Of one call, without that of the loop around it."""
    return (_least(call) - _least(lambda: None)) / CALLS * 1e6


def _least(call: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            call()
        took.append(time.process_time() - started)
    return min(took)


def add_token(access: Access, *scopes: str, **more: object) -> bytes:
    """A new token, as the header shows it."""
    asked = CreateToken(name="t", scopes=list(scopes), **more)  # type: ignore[arg-type]  # fields by name
    record, token = make_token(asked, SystemClock().now_ms(), os.urandom)
    access.add(record)
    return f"Bearer {token}".encode()


def main() -> None:
    clock = SystemClock()
    access = Access(clock, os.urandom)
    peer = Peer("127.0.0.1")
    row = COMMANDS["enqueue"]
    figures = {"no tokens": cost_us(lambda: access.identify(peer, row, b"", b"", b""))}

    admin = add_token(access, "admin")
    for _ in range(1_000):
        add_token(access, "produce:other.*")
    scoped = add_token(access, "produce:orders.*", "consume:orders.*")
    limited = add_token(access, "admin", rate_limit=TokenRate(1e6, 10_000_000))
    expiring = add_token(access, "admin", expires_in_ms=86_400_000)
    for name, header in (
        ("a token, of a thousand", admin),
        ("a token that expires", expiring),
        ("a token with a rate of requests", limited),
    ):
        figures[name] = cost_us(lambda header=header: access.identify(peer, row, header, b"", b""))

    view, cookie = access.sign_in(Visitor(peer), admin.decode().removeprefix("Bearer "))
    assert view.csrf_token is not None
    sent, csrf = cookie.partition(";")[0].encode(), view.csrf_token.encode()
    figures["a web session"] = cost_us(lambda: access.identify(peer, row, b"", sent, csrf))

    call = Call(row, "orders.eu", None, None, None, 0)  # type: ignore[arg-type]  # nobody is answered
    call.principal = access.identify(peer, row, scoped, b"", b"")
    figures["check of a scope with a pattern"] = cost_us(lambda: access.check(call))
    for name, figure in figures.items():
        sys.stdout.write(f"{name:35}{figure:7.2f}\n")


if __name__ == "__main__":
    main()
