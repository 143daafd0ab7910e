"""The command table and the structs of every request and reply.

Data only: may import model and errors, and does no I/O. A field's limits stand with its type.
"""

from taskqueuex.commands.table import COMMANDS, Command, command

__all__ = ["COMMANDS", "Command", "command"]
