"""What type checkers know of tasks: the arguments of the function, less what the worker passes."""

import subprocess
import sys

PROGRAM = """
from taskqueuex import App, Context, Handle, Task, injected

app = App()

class Pool: ...

@app.resource
def pool() -> Pool:
    return Pool()

@app.task(queue="orders")
async def settle(context: Context, order_id: int, qty: float = 1.0, pool: Pool = injected) -> str:
    return "x"

@app.task
def plain(order_id: int) -> int:
    return order_id

@app.cron("* * * * *")
@app.task
def periodic() -> None: ...

good: Handle[str] = settle.enqueue(42, qty=2.0)
text: str = settle.options(priority=9, delay=1.5).enqueue(42).result(timeout=5)
number: int = plain.enqueue(1).result()
periodic.enqueue()
settle.enqueue("42")  # wrong
settle.options(colour="red")  # wrong
plain.enqueue()  # wrong
app.task(max_attempts="5")  # wrong
"""


def test_a_type_checker_finds_wrong_calls_and_only_those(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    lines = PROGRAM.splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert found == wrong, done.stdout
