"""`python -m tests.torture`: kill the server as often as asked; exit code 1 when anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from tests.torture.runner import Plan, report, torture


def main() -> int:
    """Run the torture that the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the clients' intentions")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop killing after so long")
    parser.add_argument("--check-storage-every", type=int, default=20, metavar="KILLS", help="0: never")
    parser.add_argument("--fill", type=int, default=9_000, help="tasks put into each deep queue at first")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    plan = Plan(
        arguments.kills,
        arguments.seed,
        arguments.seconds,
        fill=arguments.fill,
        check_storage_every=arguments.check_storage_every,
    )
    verdict = asyncio.run(torture(plan, lambda text: print(text, flush=True)))
    print(report(verdict))
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())
