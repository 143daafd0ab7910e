"""`python -m taskqueuex.cli`."""

from taskqueuex.cli import main

main()
