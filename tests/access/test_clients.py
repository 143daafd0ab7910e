"""The methods of both clients about tokens and the audit, against a server that asks for credentials."""

import asyncio

import pytest

from taskqueuex.client import AsyncClient, Client
from taskqueuex.client.retry import RetryPolicy
from taskqueuex.errors import Conflict, Forbidden, NotFound, RateLimited, Unauthenticated


def test_a_client_makes_uses_and_revokes_tokens(server, admin):
    with Client(server.url, token=admin.token) as root:
        made = root.create_token(
            name="shop", scopes=["produce:orders.*"], tasks_rate_limit={"per_second": 0.001, "burst": 1}
        )
        names = [each.name for each in root.list_tokens().tokens]
        assert sorted(names) == ["root", "shop"], "by time; both may be of one millisecond"
        with Client(server.url, token=made.token, retry=RetryPolicy(attempts_max=1)) as shop:
            assert shop.get_session().scopes == ["produce:orders.*"]
            shop.enqueue("orders.eu", payload=1)
            with pytest.raises(Forbidden, match="'mail'"):
                shop.enqueue("mail", payload=1)
            with pytest.raises(Forbidden):
                shop.create_token(name="t", scopes=["admin"])
            with pytest.raises(RateLimited):
                shop.enqueue("orders.eu", payload=2)
            assert root.delete_token(made.id).deleted
            with pytest.raises(Unauthenticated):
                shop.get_session()
        with pytest.raises(NotFound):
            root.delete_token(made.id)
        entries = list(root.iterate_audit(limit=1))
        assert [(each.command, each.status) for each in entries] == [
            ("delete_token", 404),
            ("delete_token", 200),
            ("create_token", 403),
            ("create_token", 201),
            ("create_token", 201),
        ]


def test_an_async_client_does_the_same(server, admin):
    async def run():
        async with AsyncClient(server.url, token=admin.token) as root:
            made = await root.create_token(name="t", scopes=["read"])
            with pytest.raises(Conflict):
                await root.delete_token((await root.get_session()).principal.id)
            async with AsyncClient(server.url, token=made.token) as reader:
                assert (await reader.list_queues()).queues == []
            found = [each.target async for each in root.iterate_audit(command="create_token")]
            assert found[0] == made.id

    asyncio.run(run())
