"""A trading day on real prices, through queues: `make demo`, or `cd examples && python -m trading`.

market.py    bars from a file to quotes and orders
tasks.py     what the workers run
programs.py  a server and workers of its own
replay.py    plays the market, and looks after the dead letters
screen.py    what is shown while it runs
checks.py    what must be true at the end
"""
