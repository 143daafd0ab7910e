"""What the workers of these tests run: orders fail until there is a list of prices."""

import os
from pathlib import Path

from taskqueuex import App, Backoff

app = App()


@app.task(queue="orders", name="shop.settle", max_attempts=2, backoff=Backoff(base=0.05))
def settle(order: int) -> str:
    """Raises FileNotFoundError as long as nobody has put the prices there."""
    prices = Path(os.environ["SHOP_PRICES"]).read_text()
    return f"order {order} at {prices}"
