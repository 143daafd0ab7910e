"""What the workers of the scene run: a trading desk and its back office."""

import asyncio
import random
import smtplib

from taskqueuex import App, Backoff

app = App()
SOON = Backoff(base=0.5, max=2)


@app.task(queue="orders", name="orders.route", timeout=5)
async def route(order: int, symbol: str, qty: int) -> dict[str, object]:
    await asyncio.sleep(random.lognormvariate(-4.6, 0.6))
    return {"order": order, "venue": random.choice(["XETR", "XLON", "XNAS"]), "filled": qty}


@app.task(queue="quotes", name="quotes.mark")
async def mark(symbol: str, price: float) -> float:
    await asyncio.sleep(0.003)
    return price


@app.task(queue="risk", name="risk.revalue")
async def revalue(book: str) -> float:
    await asyncio.sleep(random.uniform(0.2, 0.5))
    return round(random.gauss(0, 1e5), 2)


@app.task(queue="statements", name="statements.render")
async def render(client: str, month: str) -> str:
    await asyncio.sleep(random.uniform(0.15, 0.35))
    return f"{client}-{month}.pdf"


@app.task(queue="mail", name="mail.send", max_attempts=3, backoff=SOON)
async def send(to: str, subject: str) -> None:
    await asyncio.sleep(0.02)
    if to.endswith("@example.net"):
        raise smtplib.SMTPRecipientsRefused({to: (550, b"mailbox unavailable")})
    if random.random() < 0.02:
        raise ConnectionRefusedError(111, "Connection refused")


@app.task(queue="settlement", name="settlement.step")
async def step(what: str, seconds: float) -> dict[str, object]:
    await asyncio.sleep(seconds)
    return {"what": what, "rows": random.randrange(1_000, 90_000)}
