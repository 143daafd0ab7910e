"""examples/fastapi_app: a web API over a real server, with a real worker behind it."""

import asyncio

import httpx
import pytest


class Web:
    """Asks the API, all on one event loop, as a web server would."""

    def __init__(self, runner, client):
        self._runner = runner
        self._client = client

    def get(self, path, **options):
        return self._runner.run(self._client.get(path, **options))

    def post(self, path, **options):
        return self._runner.run(self._client.post(path, **options))

    def delete(self, path):
        return self._runner.run(self._client.delete(path))


@pytest.fixture(scope="module")
def web(example, start_worker):
    example("fastapi_app.tasks")
    api = example("fastapi_app.main").api
    start_worker("fastapi_app.tasks")
    lifespan = api.router.lifespan_context(api)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://prices", timeout=60)
    with asyncio.Runner() as runner:
        runner.run(lifespan.__aenter__())
        yield Web(runner, client)
        runner.run(client.aclose())
        runner.run(lifespan.__aexit__(None, None, None))


def test_a_price_is_asked_for_and_fetched(web):
    asked = web.post("/prices", params={"symbol": "GOOG", "quantity": 3})
    assert asked.status_code == 202
    task_id = asked.json()["id"]
    answer = web.get(f"/prices/{task_id}", params={"wait": 30}).json()
    quote = {"symbol": "GOOG", "quantity": 3, "total": "2418.57"}
    assert answer == {"id": task_id, "state": "done", "quote": quote}


def test_a_price_that_cannot_be_had_says_why(web):
    task_id = web.post("/prices", params={"symbol": "NOPE", "quantity": 1}).json()["id"]
    answer = web.get(f"/prices/{task_id}", params={"wait": 30}).json()
    assert answer["state"] == "failed"
    assert "there is no price of NOPE" in answer["why"]


def test_a_wrong_quantity_enqueues_nothing(web, example):
    tasks = example("fastapi_app.tasks")
    before = len(list(tasks.app.client.iterate_tasks(name=tasks.price.name)))
    assert web.post("/prices", params={"symbol": "GOOG", "quantity": 0}).status_code == 422
    assert len(list(tasks.app.client.iterate_tasks(name=tasks.price.name))) == before


def test_an_unknown_task_is_not_found(web):
    assert web.get("/prices/01a20bef-fd62-79c6-8000-00f58f5ca880").status_code == 404


def test_a_running_task_is_cancelled(web):
    task_id = web.post("/watches", params={"symbol": "GOOG", "seconds": 60}).json()["id"]
    while web.get(f"/watches/{task_id}").json()["progress"] is None:
        pass  # each look waits for the server's answer
    reply = web.delete(f"/watches/{task_id}").json()
    assert reply == {"id": task_id, "state": "running", "cancel_requested": True}
    assert web.get(f"/watches/{task_id}", params={"wait": 30}).json()["state"] == "cancelled"
    assert web.delete(f"/watches/{task_id}").status_code == 409
