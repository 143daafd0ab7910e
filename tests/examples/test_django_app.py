"""examples/django_app: what is committed is enqueued, what is rolled back is not."""

import importlib
import os
from pathlib import Path

import pytest
from processes import until

SHOP = Path(__file__).resolve().parents[2] / "examples" / "django_app"


@pytest.fixture(scope="module")
def shop(tmp_path_factory, start_worker, example):
    """The shop's modules, over a database of their own that a worker shares."""
    environment = {
        "SHOP_DATABASE": str(tmp_path_factory.mktemp("shop") / "shop.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }
    os.environ.update(environment)
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    start_worker("worker", SHOP, **environment)
    example("shop.tasks")
    yield importlib.import_module("shop.views")
    connections.close_all()
    for name in environment:
        del os.environ[name]


@pytest.fixture
def web(shop):
    from django.test import Client

    return Client()


def test_an_order_that_is_committed_is_settled(web):
    taken = web.post("/orders", {"symbol": "GOOG", "quantity": "10"})
    assert taken.status_code == 201
    address = f"/orders/{taken.json()['order']}"
    until(lambda: web.get(address).json()["state"] == "settled", "the order's settlement")


def test_an_order_that_is_rolled_back_enqueues_nothing(web, shop):
    def known():
        return len(list(shop.settle.owner.client.iterate_tasks(name=shop.settle.name)))

    before = known()
    refused = web.post("/orders", {"symbol": "GOOG", "quantity": "5000"})
    assert refused.status_code == 409
    assert known() == before
    assert not shop.Order.objects.filter(quantity=5000).exists()


def test_an_older_attempt_changes_nothing(shop):
    from taskqueuex import Context  # what the worker passes

    class Old(Context):
        attempt = 1

        def __init__(self):
            pass

    order = shop.Order.objects.create(symbol="GOOG", quantity=1, state="returned", attempt=2)
    assert shop.settle.function(Old(), order.id) == "returned"
