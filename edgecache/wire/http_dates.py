"""HTTP-date (RFC 9110 section 5.6.7), in all three forms."""

import re
from datetime import UTC, datetime
from email.utils import formatdate

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<month>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{{2}})-(?P<year>\d\d) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})"),
)


def parse_date(value: str, now: float) -> float | None:
    """Unix time; None for what is no HTTP-date. `now` tells the century of two digits."""
    found = next((match for form in _FORMS if (match := form.fullmatch(value))), None) if value.isascii() else None
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"]) if len(found["year"]) == 4 else _century(int(found["year"]), now)
    try:
        date = datetime(year, _MONTHS.index(found["month"]) + 1, int(found["day"]), tzinfo=UTC).timestamp()
    except ValueError:
        return None
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    return date + 3_600 * hour + 60 * minute + second if hour < 24 and minute < 60 and second < 61 else None


def _century(two_digits: int, now: float) -> int:
    """Never more than 50 years ahead."""
    this_year = datetime.fromtimestamp(now, UTC).year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year


def format_date(at: float) -> str:
    """Unix time in the preferred form."""
    return formatdate(at, usegmt=True)
