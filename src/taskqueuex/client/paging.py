"""All pages of a listing, one after the other."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol, TypeVar

__all__ = ["async_pages", "pages"]


class _Page(Protocol):
    @property
    def cursor(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


def pages(fetch: Callable[[str | None], P]) -> Iterator[P]:
    """The pages that `fetch` gets for a cursor, None for the first."""
    cursor = None
    while True:
        page = fetch(cursor)
        yield page
        cursor = page.cursor
        if cursor is None:
            return


async def async_pages(fetch: Callable[[str | None], Awaitable[P]]) -> AsyncIterator[P]:
    """As `pages`."""
    cursor = None
    while True:
        page = await fetch(cursor)
        yield page
        cursor = page.cursor
        if cursor is None:
            return
