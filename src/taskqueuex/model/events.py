"""What happens, as it is kept and told: one record an event, one row a turn."""

__all__ = ["EventRecord"]

EventRecord = tuple[int, bytes, str, int, str, str]
"""(what: a state or a kind of notice, task id, queue, attempt, name of the task, detail)."""
