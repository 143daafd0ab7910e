"""The app of the tests of traces: as a user would write it, with what makes it exported."""

from taskqueuex import App
from taskqueuex.app.tracing import export_traces

app = App()
export_traces(app)


@app.task(name="shop.settle", queue="orders")
async def settle(order_id: int) -> int:
    return order_id


@app.task(name="shop.weigh", queue="orders", mode="process")
def weigh(order_id: int) -> int:
    return order_id


@app.task(name="shop.lose", queue="orders", max_attempts=1)
def lose() -> None:
    raise LookupError("it is lost")
