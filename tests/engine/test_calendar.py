"""When schedules occur: against known instants, and against a clock that is looked at every minute."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskqueuex.engine.calendar import NEVER, Cron, Every, calendar_of
from taskqueuex.errors import Invalid

ZONES = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "UTC", "Asia/Kolkata"]
MINUTE = 60_000


def ms(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def occurrences(expression, zone, since, count):
    cron, at = Cron(expression, ZoneInfo(zone)), ms(since)
    found = []
    for _ in range(count):
        at = cron.after(at)
        found.append(datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "since", "expected"),
    [
        # A gap: 02:30 does not exist, and is taken at the first instant after.
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00-05:00", [
            "2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00", [
            "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30", [
            "2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00+02:00", [
            "2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"]),
        # Several in one gap are one, and so is one that falls on its end.
        ("0,15,30,45 2,3 * * *", "America/New_York", "2026-03-08T00:00-05:00", [
            "2026-03-08T03:00-04:00", "2026-03-08T03:15-04:00"]),
        # Asked within the hour before and after the gap.
        ("30 2 * * *", "America/New_York", "2026-03-08T01:59-05:00", ["2026-03-08T03:00-04:00"]),
        ("30 2 * * *", "America/New_York", "2026-03-08T03:00-04:00", ["2026-03-09T02:30-04:00"]),
        # A fold: 01:30 comes twice, and is taken once.
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00-04:00", [
            "2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", [
            "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00+11:00", [
            "2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T01:10-05:00", ["2026-11-02T01:30-05:00"]),
        # By the clock, through both changes.
        ("*/20 * * * *", "America/New_York", "2026-03-08T01:30-05:00", [
            "2026-03-08T01:40-05:00", "2026-03-08T03:00-04:00", "2026-03-08T03:20-04:00"]),
        ("*/20 * * * *", "America/New_York", "2026-11-01T01:30-04:00", [
            "2026-11-01T01:40-04:00", "2026-11-01T01:00-05:00", "2026-11-01T01:20-05:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T01:30+02:00", [
            "2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]),
        ("0 * * * *", "Australia/Lord_Howe", "2026-10-04T00:30+10:30", [
            "2026-10-04T01:00+10:30", "2026-10-04T03:00+11:00"]),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:40+11:00", [
            "2026-04-05T01:45+11:00", "2026-04-05T01:30+10:30", "2026-04-05T01:45+10:30"]),
        ("*/15 3 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30", [
            "2026-10-04T03:00+11:00", "2026-10-04T03:15+11:00"]),
        # Names, last days, macros.
        ("0 9 * * mon-fri", "Europe/Berlin", "2026-05-15T10:00+02:00", ["2026-05-18T09:00+02:00"]),
        ("0 9 L * *", "UTC", "2028-02-01T00:00+00:00", ["2028-02-29T09:00+00:00"]),
        ("@daily", "UTC", "2026-01-01T00:00+00:00", ["2026-01-02T00:00+00:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00+00:00", ["2028-02-29T00:00+00:00", "2032-02-29T00:00+00:00"]),
    ],
)  # fmt: skip
def test_known_occurrences(expression, zone, since, expected):
    assert occurrences(expression, zone, since, len(expected)) == expected


def _looked_at(expression, zone, since, until):
    """All minutes at which the clock shows a match: what a cron expression by the clock means."""
    cron, tz = Cron(expression, UTC), ZoneInfo(zone)
    found = []
    for at in range(since + MINUTE, until + 1, MINUTE):
        shown = datetime.fromtimestamp(at / 1000, tz).replace(tzinfo=UTC)
        before = int((shown - timedelta(minutes=1)).timestamp() * 1000)
        if cron.after(before) == int(shown.timestamp() * 1000):
            found.append(at)
    return found


CHANGES = [
    ms(text)
    for text in (
        "2026-03-08T07:00+00:00", "2026-11-01T06:00+00:00", "2026-03-29T01:00+00:00",
        "2026-10-25T01:00+00:00", "2026-04-04T15:00+00:00", "2026-10-03T15:30+00:00",
        "2026-04-23T22:00+00:00",
    )
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    lead=st.integers(0, 240),
    minute=st.sampled_from(["*", "*/7", "*/30"]),
    hour=st.sampled_from(["*", "*/2", "1", "2", "3", "0,2"]),
)
@example(zone="Australia/Lord_Howe", change=CHANGES[5], lead=60, minute="*/30", hour="3")
def test_by_the_clock_is_what_the_clock_shows(zone, change, lead, minute, hour):
    expression = f"{minute} {hour} * * *"
    since = change - lead * MINUTE
    until = since + 6 * 60 * MINUTE
    cron = Cron(expression, ZoneInfo(zone))
    found, at = [], since
    while NEVER < (at := cron.after(at)) <= until:
        found.append(at)
    assert found == _looked_at(expression, zone, since, until)


@settings(max_examples=80, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    lead=st.integers(-48 * 60, 48 * 60),
    minute=st.sampled_from(["0", "30", "15,45", "59"]),
    hour=st.integers(0, 23),
)
def test_times_of_the_day_come_once_a_day_and_it_does_not_matter_from_where_one_asks(
    zone, change, lead, minute, hour
):
    cron = Cron(f"{minute} {hour} * * *", ZoneInfo(zone))
    start = change - 3 * 86_400_000
    all_of_them, at = [], start
    while (at := cron.after(at)) < change + 4 * 86_400_000:
        all_of_them.append(at)
    assert all(one < other for one, other in pairwise(all_of_them))
    asked = change - lead * MINUTE
    assert cron.after(asked) == next(each for each in all_of_them if each > asked)
    days = [datetime.fromtimestamp(each / 1000, ZoneInfo(zone)).date() for each in all_of_them]
    assert max(days.count(day) for day in days) <= len(minute.split(","))
    assert len(set(days)) >= 6


@pytest.mark.parametrize("every_ms", [100, 60_000, 86_400_000, 777])
def test_every_is_aligned_to_the_epoch(every_ms):
    every = Every(every_ms)
    at = every.after(1_700_000_000_123)
    assert at % every_ms == 0 and 0 < at - 1_700_000_000_123 <= every_ms
    assert every.after(at) == at + every_ms


def _by_hand(calendar, at, until):
    found = []
    while NEVER < at <= until:
        found.append(at)
        at = calendar.after(at)
    return found


@settings(max_examples=60, deadline=None)
@given(
    calendar=st.sampled_from(
        [Every(100), Every(777), Cron("*/5 * * * *", UTC), Cron("30 2 * * *", ZoneInfo("Europe/Berlin"))]
    ),
    length=st.integers(0, 300_000),
    most=st.integers(1, 5),
)
def test_skipping_and_counting_agree_with_going_one_by_one(calendar, length, most):
    scale = 1 if isinstance(calendar, Every) else 2_000
    at = calendar.after(ms("2026-03-28T00:00+00:00"))
    until = at + (length // 50 if scale == 1 else length * scale)
    one_by_one = _by_hand(calendar, at, until)
    before = [each for each in one_by_one if each < until]
    count, reached = calendar.skip(at, until, 1 << 30)
    assert count == len(before)
    assert reached == (calendar.after(before[-1]) if before else at)
    begin = calendar.begin_of_last(at, until, most)
    assert [each for each in one_by_one if each >= begin] == one_by_one[-most:]


def test_skipping_stops_where_it_is_told():
    cron = Cron("* * * * *", UTC)
    at = ms("2026-01-01T00:00+00:00")
    assert cron.skip(at, at + 10 * MINUTE, 4) == (4, at + 4 * MINUTE)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * *", "five fields"), ("* * * * * *", "five fields"), ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"), ("* * 0 * *", "day-of-month"), ("* * * 13 *", "month"),
        ("* * * * 8", "day-of-week"), ("0 0 30 2 *", "day-of-month"), ("@reboot", "five fields"),
        ("*/0 * * * *", "minute"), ("5-1 * * * *", "minute"), ("a b c d e", "minute"),
        ("* * * * 5L/2", "day-of-week"), ("* * * * ²L", "day-of-week"),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_refused_with_its_reason(cron, said):
    with pytest.raises(Invalid) as caught:
        calendar_of(cron, None, "UTC")
    assert caught.value.errors[0].field == "cron"
    assert said in caught.value.errors[0].message


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "America", "", "/etc/passwd", "é"])
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(Invalid) as caught:
        calendar_of("* * * * *", None, name)
    assert caught.value.errors[0].field == "timezone"
