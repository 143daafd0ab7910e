"""Zero-copy: a payload that is passed on as it came, against one that is decoded and encoded again.

python benchmarks/design_map/payloads.py
"""

from __future__ import annotations

import json

import msgspec
from timing import best_ns, show


class Opaque(msgspec.Struct, gc=False):
    """What the server reads of an enqueue: the payload stays bytes."""

    payload: msgspec.Raw
    name: str = ""


def main() -> None:
    """Print every figure."""
    opaque, encode = msgspec.json.Decoder(Opaque).decode, msgspec.json.Encoder().encode
    for size, count in ((100, 100_000), (10_000, 5_000), (1_000_000, 50)):
        row = {"symbol": "EURUSD", "bid": 1.0712, "ask": 1.0713, "at": 1_700_000_000_000, "venue": "ebs"}
        body = json.dumps({"name": "tick", "payload": [row] * max(1, size // 85)}).encode()

        def kept(count: int, body: bytes = body) -> None:
            for _ in range(count):
                encode(opaque(body))

        def decoded(count: int, body: bytes = body) -> None:
            for _ in range(count):
                encode(msgspec.json.decode(body))

        def standard(count: int, body: bytes = body) -> None:
            for _ in range(count):
                json.dumps(json.loads(body)).encode()

        print(f"a body of {len(body):,} bytes, read and written again")
        show("payload left as bytes (what the server does)", best_ns(kept, count) / 1000, "us", 2)
        show("decoded and encoded, msgspec", best_ns(decoded, count) / 1000, "us", 2)
        show("decoded and encoded, json of the standard library", best_ns(standard, count, 3) / 1000, "us", 2)


if __name__ == "__main__":
    main()
