"""Orders are taken; tasks are enqueued when the database has them for good, and not before."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from shop.models import Order
from shop.tasks import settle


class OutOfStock(Exception):
    """The order cannot be taken after all."""


@require_POST
def take_order(request: HttpRequest) -> JsonResponse:
    quantity = int(request.POST["quantity"])
    try:
        with transaction.atomic():
            order = Order.objects.create(symbol=request.POST["symbol"], quantity=quantity)
            # In the transaction, the worker could be faster than the commit, and find no row; and an
            # order that is rolled back would be settled.
            transaction.on_commit(lambda: settle.enqueue(order.id))
            if quantity > 1_000:
                raise OutOfStock
    except OutOfStock:
        return JsonResponse({"error": "there are not as many"}, status=409)
    return JsonResponse({"order": order.id}, status=201)


@require_GET
def show_order(request: HttpRequest, order_id: int) -> JsonResponse:
    order = Order.objects.get(id=order_id)
    return JsonResponse({"order": order.id, "state": order.state})
