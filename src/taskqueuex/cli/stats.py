"""`tqx stats`: the server in one look."""

from taskqueuex.cli.app import app, asks_server
from taskqueuex.cli.terminal import Terminal, age

__all__ = ["stats"]


@asks_server(app, "stats")
def stats(tqx: Terminal) -> None:
    """Totals, rates and latencies of the server, its process and its host."""
    answer = tqx.client.ask("stats")
    if tqx.is_json:
        tqx.json(answer)
        return
    tqx.line(f"TaskQueueX {answer['version']}, up {age(answer['uptime_ms'])}, {answer['queues']} queues")
    rates = answer["rates"]
    tqx.facts(
        {
            "tasks": ", ".join(f"{count} {state}" for state, count in answer["counts"].items() if count)
            or "none",
            "a second": ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()),
            "connections": answer["connections"],
            "waiting polls": answer["waiters"],
        }
    )
    columns = ("milliseconds", "p50", "p90", "p99", "count")
    rows = (
        (name, *(f"{values.get(key, 0):.3f}" for key in columns[1:4]), int(values.get("count", 0)))
        for name, values in answer["latency_ms"].items()
    )
    tqx.table(columns, rows)
    for title in ("totals", "storage", "process", "host"):
        tqx.line(f"\n{title}")
        tqx.facts(answer[title])
