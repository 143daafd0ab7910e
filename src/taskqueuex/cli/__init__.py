"""tqx: the command line.

One module a noun. Only `serve` imports the node, only `token --data` what there is of it without a server,
and only `restore` and `storage check` the storage, each when it is called: everything else is a client of
the public HTTP API, built from the command table. Touches the terminal, the environment and the network.

Exit codes: 0 done; 1 the server refused or failed; 2 wrong usage, input or configuration; 3 not
found (or forgotten); 4 conflict with the current state; 5 the server cannot be reached;
130 interrupted; 141 the reader of the output has gone.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """The entry point of `tqx`; ends the process."""
    from taskqueuex.cli.app import run

    sys.exit(run(sys.argv[1:]))
