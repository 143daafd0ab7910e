"""Frozen facts: ids, states, records of tasks and queues. No behaviour, no I/O.

May import nothing of ours but errors, clock and telemetry (and needs none of them).
"""
