"""Runs the tasks of an app: on an event loop, in threads, and in processes of their own.

May import app, client and what is below them. The program is `worker.py`; `heart.py` and `child.py` are
the processes that it starts. Nothing is imported here, because those are to be small and quick to start.
"""
