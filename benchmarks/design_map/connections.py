"""Connections that are kept, against a new one for each request: what keep-alive and a client's pool save.

python benchmarks/design_map/connections.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from measure import run_load  # of benchmarks/
from servers import Bench


def main() -> None:
    """Print a line per way."""
    bench = Bench(Path("/var/tmp"))
    try:
        bench.compile_load()
        with bench.taskqueuex() as server:
            print("  GET /healthz                  requests/s   CPU us each    p50 us    p99 us")
            for mode, name in (("get", "64 connections, kept"), ("connect", "a new one for each")):
                figures = run_load(bench, server, "-s", 4, mode, "/healthz")
                print(
                    f"  {name:<28}{figures.ops_per_s:>12,.0f}{figures.cpu_us_per_op:>14.1f}"
                    f"{figures.p50_us:>10,.0f}{figures.p99_us:>10,.0f}"
                )
    finally:
        bench.remove()


if __name__ == "__main__":
    main()
