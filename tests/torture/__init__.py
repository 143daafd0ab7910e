"""The kill -9 test: real clients, a real server killed at random moments, and a checker of the history.

Black box: it speaks HTTP to the server's process and imports nothing of taskqueuex. Run it with
`python -m tests.torture --kills 1000`; pytest runs its CI form (`test_kill.py`).

    history.py    what the clients saw: facts, no behaviour
    wire.py       a small HTTP/1.1 client
    server.py     the process that is killed
    clients.py    producers and consumers
    drain.py      the end: everything comes out, one by one
    checker.py    judges a history
    runner.py     puts them together
"""
