"""The API: `cd examples && uvicorn fastapi_app.main:api`.

A request enqueues and returns at once with an id; another one asks for the result. Nothing that a request
does waits for a worker longer than the caller asked for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, HTTPException, Query

from fastapi_app.tasks import app, price, watch
from taskqueuex import ResultTimeout, TaskEnded
from taskqueuex.errors import Conflict, Gone, NotFound


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await app.close_async()


api = FastAPI(title="Prices", lifespan=lifespan)


@api.post("/prices", status_code=202)
async def ask_price(symbol: str, quantity: Annotated[int, Query(gt=0)]) -> dict[str, str]:
    handle = await price.enqueue_async(symbol, quantity)
    return {"id": handle.id}


@api.get("/prices/{task_id}")
async def get_price(task_id: str, wait: Annotated[float, Query(ge=0, le=30)] = 0) -> dict[str, Any]:
    try:
        quote = await price.handle(task_id).result_async(timeout=wait)
    except ResultTimeout:
        return {"id": task_id, "state": "not done yet"}
    except TaskEnded as ended:
        return {"id": task_id, "state": "failed", "why": str(ended)}
    except (NotFound, Gone) as unknown:
        raise HTTPException(404, str(unknown)) from unknown
    return {"id": task_id, "state": "done", "quote": msgspec.to_builtins(quote)}


@api.post("/watches", status_code=202)
async def start_watch(symbol: str, seconds: float = 30) -> dict[str, str]:
    handle = await watch.enqueue_async(symbol, seconds)
    return {"id": handle.id}


@api.get("/watches/{task_id}")
async def get_watch(task_id: str, wait: Annotated[float, Query(ge=0, le=30)] = 0) -> dict[str, Any]:
    handle = watch.handle(task_id)
    try:
        view = await (handle.wait_async(wait) if wait else handle.view_async())
    except ResultTimeout:
        view = await handle.view_async()
    return {"id": task_id, "state": view.state, "progress": msgspec.json.decode(view.progress)}


@api.delete("/watches/{task_id}")
async def cancel_watch(task_id: str) -> dict[str, Any]:
    try:
        reply = await watch.handle(task_id).cancel_async()
    except Conflict as ended:
        raise HTTPException(409, str(ended)) from ended
    return {"id": task_id, "state": reply.state, "cancel_requested": reply.cancel_requested}
