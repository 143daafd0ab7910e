"""The CI form of the kill -9 test. TQX_KILLS (200) and TQX_SEED (drawn anew) override."""

import asyncio
import os
import random

import pytest
from tests.torture.runner import Plan, report, torture

KILLS = int(os.environ.get("TQX_KILLS", "200"))


@pytest.mark.timeout(120 + 4 * KILLS)
def test_a_server_killed_at_random_moments_keeps_every_promise() -> None:
    seed = int(os.environ.get("TQX_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    plan = Plan(KILLS, seed, check_storage_every=max(5, KILLS // 10))
    verdict = asyncio.run(torture(plan))
    print(report(verdict))
    assert verdict.passed, report(verdict)
    assert verdict.history.kills == KILLS
    assert len(verdict.history.deliveries) > KILLS, "the clients hardly got anything done"
