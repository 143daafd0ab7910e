"""A task, a call, a result.

tqx serve                           # in one terminal
cd examples && tqx worker script    # in another
python examples/script.py           # prints 5
"""

from taskqueuex import App

app = App()  # the server of TQX_SERVER, else http://127.0.0.1:7470


@app.task
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    with app:
        print(add.enqueue(2, 3).result(timeout=30))
