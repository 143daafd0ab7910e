"""When the occurrences of a schedule are: cron expressions in a time zone, or every so many milliseconds.

cronsim matches the fields of an expression against the date and time that a clock on a wall shows; what
a clock shows when, and what happens when it is set forward or back, is decided here:

* An expression with a certain hour and minute (neither field begins with `*`) means times of the day. One
  that the clock skips is taken at the first instant after the gap, and one that the clock shows twice is
  taken the first time. This is what cron does on Debian.
* Others mean the passing of time: they go by what the clock shows at every instant, so that every fifth
  minute stays every fifth minute through both changes.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from taskqueuex.errors import Invalid

__all__ = ["NEVER", "Calendar", "Cron", "Every", "Never", "calendar_of"]

NEVER: Final = 0
"""What `after` says when nothing comes any more."""

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_EPOCH = datetime(1970, 1, 1)
_MS = timedelta(milliseconds=1)


class Calendar(Protocol):
    """The occurrences of a schedule. All times are Unix milliseconds."""

    def after(self, at_ms: int) -> int:
        """The first occurrence after a time, or NEVER."""
        ...

    def skip(self, at_ms: int, until_ms: int, most: int) -> tuple[int, int]:
        """From an occurrence on past those before `until_ms`: (how many, the first not passed).

        It may stop after `most`, where it has to look at each.
        """
        ...

    def begin_of_last(self, at_ms: int, until_ms: int, most: int) -> int:
        """A time such that at most `most` of the occurrences from `at_ms` to `until_ms` are not before it."""
        ...


class Never:
    """What is left of a schedule whose definition is not understood any more."""

    def after(self, at_ms: int) -> int:
        """Satisfies Calendar."""
        return NEVER

    def skip(self, at_ms: int, until_ms: int, most: int) -> tuple[int, int]:
        """Satisfies Calendar."""
        return 0, NEVER

    def begin_of_last(self, at_ms: int, until_ms: int, most: int) -> int:
        """Satisfies Calendar."""
        return at_ms


class Every:
    """Each `every_ms`, counted from 1970: the same instants whoever sets it, and whenever."""

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms

    def after(self, at_ms: int) -> int:
        """Satisfies Calendar."""
        return (at_ms // self.every_ms + 1) * self.every_ms

    def skip(self, at_ms: int, until_ms: int, most: int) -> tuple[int, int]:
        """Satisfies Calendar."""
        if at_ms >= until_ms:
            return 0, at_ms
        count = -((at_ms - until_ms) // self.every_ms)
        return count, at_ms + count * self.every_ms

    def begin_of_last(self, at_ms: int, until_ms: int, most: int) -> int:
        """Satisfies Calendar."""
        return max(at_ms, self.after(until_ms) - most * self.every_ms)


class Cron:
    """A cron expression in a time zone."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        """Raises ValueError, with a reason, where the expression is none."""
        expression = _MACROS.get(expression.strip().lower(), expression)
        fields = expression.split()
        if len(fields) != 5:
            raise ValueError("must have five fields: minute, hour, day of the month, month, day of the week")
        try:
            self._matcher = CronSim(expression, _EPOCH)
        except CronSimError as error:
            raise ValueError(str(error)) from None
        except (AssertionError, TypeError, ValueError, RecursionError):
            raise ValueError("is not a cron expression") from None
        self._zone = zone
        self._by_the_day = not (fields[0].startswith("*") or fields[1].startswith("*"))

    def after(self, at_ms: int) -> int:
        """Satisfies Calendar."""
        try:
            return self._of_the_day(at_ms) if self._by_the_day else self._of_the_clock(at_ms)
        except (StopIteration, OverflowError, ValueError):  # none in 50 years, or beyond the year 9999
            return NEVER

    def skip(self, at_ms: int, until_ms: int, most: int) -> tuple[int, int]:
        """Satisfies Calendar."""
        count = 0
        while NEVER < at_ms < until_ms and count < most:
            count += 1
            at_ms = self.after(at_ms)
        return count, at_ms

    def begin_of_last(self, at_ms: int, until_ms: int, most: int) -> int:
        """Satisfies Calendar. Looks back further and further, and counts."""
        back_ms = most * _MINUTE_MS
        while until_ms - back_ms > at_ms:
            found = self._between(until_ms - back_ms, until_ms)
            if len(found) >= most:
                return found[-most]
            back_ms *= 2
        found = self._between(at_ms - 1, until_ms)
        return found[-most] if len(found) >= most else at_ms

    def _between(self, at_ms: int, until_ms: int) -> list[int]:
        found: list[int] = []
        while NEVER < (at_ms := self.after(at_ms)) <= until_ms:
            found.append(at_ms)
        return found

    def _next(self, shown: datetime) -> datetime:
        """The first match after what a clock shows; raises StopIteration."""
        self._matcher.dt = shown.replace(microsecond=0)
        return next(self._matcher)

    def _of_the_day(self, at_ms: int) -> int:
        # From a little before: what the clock shows may lie in a gap, whose times are taken at its end.
        shown = _shown(at_ms, self._zone) - timedelta(hours=3)
        while True:
            shown = self._next(shown)
            instant = _instant(shown, self._zone)
            if instant > at_ms:
                return instant

    def _of_the_clock(self, at_ms: int) -> int:
        while True:
            offset = _offset(at_ms, self._zone)
            instant = _ms(self._next(_shown(at_ms, self._zone)) - offset)
            change = _change(at_ms, instant, self._zone)
            if change is None:
                return instant
            if self._is_shown(change):
                return change
            at_ms = change

    def _is_shown(self, at_ms: int) -> bool:
        """Whether an instant at which the clock was set is an occurrence."""
        shown = _shown(at_ms, self._zone)
        return self._next(shown - timedelta(seconds=1)) == shown


def _ms(instant: datetime) -> int:
    """Unix milliseconds of a UTC time without its zone."""
    return (instant - _EPOCH) // _MS


def _offset(at_ms: int, zone: ZoneInfo) -> timedelta:
    offset = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).utcoffset()
    return offset or timedelta()


def _shown(at_ms: int, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(shown: datetime, zone: ZoneInfo) -> int:
    """When a clock shows that for the first time; where it never does, the end of the gap."""
    early, late = (_ms(shown - _utc_offset(shown, zone, fold)) for fold in (0, 1))
    if early <= late:
        return early
    # In a gap the offset before the change (fold 0) gives an instant after it, and the other one before.
    change = _change(late, early, zone)
    return early if change is None else change


def _utc_offset(shown: datetime, zone: ZoneInfo, fold: int) -> timedelta:
    return shown.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta()


def _change(at_ms: int, until_ms: int, zone: ZoneInfo) -> int | None:
    """The first instant in (at_ms, until_ms] at which the offset is another one; None: it stays.

    Looks at every day, so that two changes within one are taken for none.
    """
    offset = _offset(at_ms, zone)
    low = at_ms
    while low < until_ms:
        high = min(low + _DAY_MS, until_ms)
        if _offset(high, zone) != offset:
            return _bisected(low, high, zone, offset)
        low = high
    return None


def _bisected(low: int, high: int, zone: ZoneInfo, offset: timedelta) -> int:
    low, high = low // 1000, high // 1000
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle * 1000, zone) == offset:
            low = middle
        else:
            high = middle
    return high * 1000


def calendar_of(cron: str | None, every_ms: int | None, timezone: str) -> Calendar:
    """The calendar of a definition. Raises Invalid, which names the field."""
    zone = _zone(timezone)
    if every_ms is not None:
        return Every(every_ms)
    try:
        return Cron(cron or "", zone)
    except ValueError as error:
        raise Invalid.field("cron", str(error)) from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid.field("timezone", f"{name!r} is not a time zone of the IANA database") from None
