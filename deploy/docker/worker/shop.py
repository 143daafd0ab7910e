"""The app of the example worker of compose.yaml: replace it by yours."""

from taskqueuex import App

app = App()


@app.task(queue="orders", max_attempts=5, timeout=30.0)
async def settle(order_id: int, quantity: float) -> float:
    """What an order costs."""
    return quantity * 1.25
