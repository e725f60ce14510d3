"""One date, in whatever form it is written, and the time scale it is in.

What the cards of a header say together is for `sunalign.geometry.dates`.
"""

from __future__ import annotations

import numbers
import re
import warnings
from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import astropy.units as u
from astropy.time import Time

from sunpy.time import parse_time

__all__ = [
    "Reading",
    "is_scale",
    "is_time_axis",
    "plain",
    "read_date",
    "read_mjd",
    "reading_of",
    "reading_of_mjd",
    "scale_name",
    "time_scale",
]

#: Names that a time axis may have besides TIME: those of time scales (FITS paper IV, table 2).
_SCALE_AXES = {"UTC", "UT", "GMT", "UT1", "TAI", "IAT", "TT", "TDT", "ET", "TDB", "TCB", "TCG", "GPS"}

#: Time scales by the names that FITS allows. GPS runs parallel to TAI.
_SCALES = {"gmt": "utc", "ut": "utc", "iat": "tai", "tdt": "tt", "et": "tt", "gps": "tai"}
_GPS_BEHIND_TAI = 19 * u.s

#: Years outside which a date is a mistake, and which time scales and leap seconds do not reach.
_YEARS = (1960, 2100)

#: Seconds by which no clock on Earth is further from UTC.
_FURTHEST = 14 * 3600.0

# These forms may have a time of day behind them: the last group.
_OLD_FITS = re.compile(r"(\d\d)/(\d\d)/(\d\d)(?:[T ]+(\d.*))?$")
_DAY_MONTH_YEAR = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d\d|\d{4})(?:[T ]+(\d.*))?$")
_DAY_ONLY = re.compile(r"\d{4}[-/.]\d\d[-/.]\d\d$|\d{1,2}-[A-Za-z]{3}-\d{4}$|\d{4}-[A-Za-z]{3}-\d\d$")
_MONTHS = dict(zip("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), range(1, 13), strict=True))
_SAYS_SCALE = re.compile(r"[ _]?(TAI|UTC|Z)$")

#: Ahead of UTC by so much, as ISO 8601 has it behind a time of day: +02:00, +0200 or +02.
_OFFSET = re.compile(r"(.*\d[T_ ]+\d\d(?::?\d\d)+(?:\.\d*)?) ?([+-])(\d\d)(?::?([0-5]\d))?$")


class Reading(NamedTuple):
    """A date and how it was read.

    Parameters
    ----------
    time : `~astropy.time.Time`
        The date.
    assumed : `str`
        What had to be assumed for it.
    joined : `bool`
        Whether its time of day comes from another card.
    offset : `float`, optional
        Seconds by which the clock it was read from is ahead of UTC, where the date itself says so; 0 for a ``Z``.
    """

    time: Time
    assumed: str = ""
    joined: bool = False
    offset: float | None = None


def is_time_axis(ctype: str) -> bool:
    """Whether an axis of this CTYPE is one of time.

    Parameters
    ----------
    ctype : `str`
        As a header has it, with blanks or an algorithm: ``"UTC"``, ``"TIME"``.
    """
    word = _axis_word(ctype)
    return word == "TIME" or word in _SCALE_AXES


def time_scale(header: Mapping[str, Any], ctype: str = "") -> str:
    """Name of the time scale of an axis: its CTYPE, else TIMESYS, else UTC; lower case, by the name FITS has for it.

    Parameters
    ----------
    header : mapping
        For its TIMESYS.
    ctype : `str`
        Of a time axis; empty for the scale of the header's dates.
    """
    word = _axis_word(ctype)
    scale = word.lower() if word in _SCALE_AXES else scale_name(_first(header, "TIMESYS"))
    return scale if is_scale(scale) else "utc"


def read_date(value: Any, scale: str = "utc") -> Time | None:
    """Read one date; `None` if it is unreadable.

    Parameters
    ----------
    value : object
        As it stands in a card: text in any of the forms that archives have, or a number.
    scale : `str`
        Time scale (see `time_scale`), unless the date itself says which.
    """
    reading = reading_of(plain(value), scale)
    return None if reading is None else reading.time


def read_mjd(day: float, fraction: float = 0.0, scale: str = "utc") -> Time | None:
    """Read a modified Julian day; `None` where it lies outside the space age.

    Parameters
    ----------
    day, fraction : `float`
        Days; their sum is the date.
    scale : `str`
        Time scale by the name FITS has for it, lower case.
    """
    return _plausible(lambda: Time(day, fraction, format="mjd", scale=_SCALES.get(scale, scale)), scale)


# Values


def _first(header: Mapping[str, Any], key: str) -> Any:
    return next((header[name] for name in (key, key.lower()) if name in header), None)


def plain(value: Any) -> str | float | None:
    """Value of a card as a string or a number; `None` for what is no single date or is blank.

    Parameters
    ----------
    value : object
        As it stands in a card.
    """
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, Time):
        return f"{value.tai.isot}_TAI" if value.isscalar else None
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        # Zero is what stands in a card that was never filled in.
        return number if number == number and number != 0 else None
    return None


def _axis_word(ctype: str) -> str:
    return ctype.strip().upper().partition("-")[0].partition("(")[0].strip()


def scale_name(timesys: Any) -> str:
    """Name of a time scale in lower case; UTC where there is none.

    Parameters
    ----------
    timesys : object
        Value of the card TIMESYS.
    """
    # Such as 'UTC (TBR)' of Hinode, or 'TT(BIPM)'.
    return str(timesys or "UTC").partition("(")[0].strip().lower()


def is_scale(name: str) -> bool:
    """Whether a name, in lower case, is that of a time scale.

    Parameters
    ----------
    name : `str`
        As `scale_name` returns it.
    """
    return _SCALES.get(name, name) in Time.SCALES and name != "local"


# Forms


def reading_of(value: str | float | None, scale: str, clock: Any = None) -> Reading | None:
    """Read a date that is written out; `None` if it is unreadable.

    Parameters
    ----------
    value : `str`, `float` or `None`
        As `plain` returns it.
    scale : `str`
        Time scale, unless the date itself says which.
    clock : object
        Time of day, where the date may be a day alone.
    """
    # A number may still be a date, as 20241017 is; "now" is the one word that sunpy reads as a date.
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(text, str) or not text[:1].isdigit() or len(text) < 6:
        return None
    old = _OLD_FITS.match(text)
    assumed, joined = "", False
    if old is not None:
        day, month, year, time_of_day = old.groups()
        text = _iso(f"19{year}", month, day, time_of_day)
        assumed = "which is taken for day/month/19yy, as FITS had it until 1999"
    named = _DAY_MONTH_YEAR.match(text)
    if named is not None:
        day, month, year, time_of_day = named.groups()
        century = "" if len(year) == 4 else "19" if int(year) >= _YEARS[0] % 100 else "20"
        text = _iso(century + year, str(_MONTHS.get(month.title(), 0)), day, time_of_day)
    if _DAY_ONLY.match(text):
        day = _parsed(text, scale)
        with_clock = None if day is None or not isinstance(clock, str) else f"{day.isot[:10]}T{clock}"
        if with_clock is not None and _parsed(with_clock, scale) is not None:
            text, joined = with_clock, True
        else:
            assumed = assumed or "which has no time of day; the beginning of the day is assumed"
    time = _parsed(text, scale)
    return None if time is None else Reading(time, assumed, joined, _offset(text))


def _iso(year: str, month: str, day: str, time_of_day: str | None) -> str:
    date_part = f"{year}-{int(month):02d}-{int(day):02d}"
    return f"{date_part}T{time_of_day}" if time_of_day else date_part


@lru_cache(maxsize=4096)
def _parsed(text: str, scale: str) -> Time | None:
    ahead = _OFFSET.match(text)
    if ahead is not None:
        return _plausible(lambda: _in_utc(ahead.group(1), _offset(text) or 0.0), "utc")
    own = _SAYS_SCALE.search(text)
    if own is not None:
        scale = {"TAI": "tai"}.get(own.group(1), "utc")
        # sunpy reads 2024.10.17_00:00:00_TAI; FITS allows no suffix, and others have a blank before it.
        text = text if re.match(r"\d{4}\.\d\d\.\d\d_", text) else text[: own.start()].strip()
    return _plausible(lambda: parse_time(text, scale=_SCALES.get(scale, scale)), scale)


def _offset(text: str) -> float | None:
    """Seconds by which a date says that its clock is ahead of UTC; `None` where it does not say."""
    found = _OFFSET.match(text)
    if found is None:
        return 0.0 if text.endswith("Z") else None
    _, sign, hours, minutes = found.groups()
    return float(f"{sign}1") * (3600.0 * int(hours) + 60.0 * int(minutes or 0))


def _in_utc(text: str, offset: float) -> Time:
    """Read the clock of a place that is ahead of UTC."""
    if abs(offset) > _FURTHEST:
        raise ValueError(f"No clock is {offset} s ahead of UTC.")
    # In TAI, because a leap second between the two clocks is none of what they differ by.
    there = parse_time(text, scale="tai") - offset * u.s
    there.precision = 9
    return Time(there.isot, scale="utc")


def reading_of_mjd(value: str | float, scale: str) -> Reading | None:
    """Read a modified Julian day as a header has it; `None` if it is unreadable.

    Parameters
    ----------
    value : `str` or `float`
        As `plain` returns it.
    scale : `str`
        Time scale.
    """
    time = read_mjd(value, scale=scale) if isinstance(value, float) else None
    return None if time is None else Reading(time)


def _plausible(make: Any, scale: str) -> Time | None:
    """Make a time, or return `None` where that fails or gives a year that can only be a mistake."""
    with warnings.catch_warnings():
        # ERFA finds years beyond its leap seconds dubious, and astropy what it reads only after all.
        warnings.simplefilter("ignore")
        try:
            time = make()
            year = float(time.decimalyear)
        except (ValueError, TypeError, OverflowError, AttributeError):
            return None
    if not isinstance(time, Time) or not time.isscalar or not _YEARS[0] <= year < _YEARS[1]:
        return None
    return time + _GPS_BEHIND_TAI if scale == "gps" else time
