"""The task of the shop. Pass ids, not objects: the row may have changed when the task runs."""

from django.db import close_old_connections

from shop.models import Order
from taskqueuex import App, Context, Middleware


class FreshConnections(Middleware):
    """What Django does around a request: connections that have been lost or are too old are not used."""

    def before(self, context: Context) -> None:
        close_old_connections()

    def after(self, context: Context) -> None:
        close_old_connections()


app = App(default_queue="shop", middleware=[FreshConnections()])


@app.task(max_attempts=5, unique_key="order-{}".format)
def settle(context: Context, order_id: int) -> str:
    """May run twice, as any task: an attempt that is older than what the row has seen changes nothing."""
    changed = Order.objects.filter(id=order_id, attempt__lt=context.attempt)
    changed.update(state="settled", attempt=context.attempt)
    return Order.objects.get(id=order_id).state
