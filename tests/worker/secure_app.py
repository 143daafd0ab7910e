"""Tasks for a server that asks who calls. The app says nothing of it: options or the environment do."""

import asyncio
from pathlib import Path

from taskqueuex import App

app = App()


@app.task
async def held(until: str) -> str:
    """Runs until there is a file."""
    while not Path(until).exists():
        await asyncio.sleep(0.02)
    return "held"


@app.task(mode="process")
def forks(queue: str) -> str:
    """What a child process puts in goes to the server of its worker, as its worker."""
    return added.options(queue=queue).enqueue(1).id


@app.task
async def added(number: int) -> int:
    return number + 1
