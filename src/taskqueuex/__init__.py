"""TaskQueueX: a durable task queue server for work that cannot wait.

This package is a set of rooms with one-way doors; ARCHITECTURE.md at the root of the
repository draws them. Importing the package itself imports none of them.
"""

__version__ = "0.1.0"
