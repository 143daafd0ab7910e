"""Words and code as the cells of a Markdown table take them."""

import re
from collections.abc import Sequence
from html import escape

__all__ = ["code", "table", "words"]

_SPECIAL = str.maketrans({each: f"&#{ord(each)};" for each in "|*_[]\\`~^#"})


def code(text: object) -> str:
    """A piece of code, as HTML: Markdown's own would end at a bar or a backtick."""
    return f"<code>{escape(str(text), quote=False).translate(_SPECIAL)}</code>"


def words(text: str) -> str:
    """A sentence, in one line; what stands in backticks is code."""
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    return "".join(
        code(part) if place % 2 else escape(part, quote=False).translate(_SPECIAL)
        for place, part in enumerate(parts)
    )


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table, of cells that are Markdown already; columns without any content are left out."""
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(line[column] for column in kept) + " |" for line in lines) + "\n"
