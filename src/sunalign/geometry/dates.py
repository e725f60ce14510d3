"""When an image was taken: the one reader of dates, whatever the image came as.

A Map, a cube, ``(data, header)``, a file and the catalogue of files all ask `read_dates`, so that one header has one
date. It agrees with ``reference_date`` of sunpy's maps wherever that is a date of the header.
"""

from __future__ import annotations

import numbers
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import astropy.units as u
from astropy.time import Time
from astropy.wcs import WCS

from sunpy.time import parse_time

__all__ = [
    "Dates",
    "is_time_axis",
    "read_date",
    "read_dates",
    "read_mjd",
    "seconds_between",
    "time_scale",
    "wcs_dates",
    "without_dates",
]

#: Names that a time axis may have besides TIME: those of time scales (FITS paper IV, table 2).
_SCALE_AXES = {"UTC", "UT", "GMT", "UT1", "TAI", "IAT", "TT", "TDT", "ET", "TDB", "TCB", "TCG", "GPS"}

#: Time scales by the names that FITS allows. GPS runs parallel to TAI.
_SCALES = {"gmt": "utc", "ut": "utc", "iat": "tai", "tdt": "tt", "et": "tt", "gps": "tai"}
_GPS_BEHIND_TAI = 19 * u.s

#: Cards that date an image, best first, each with the card that holds its time of day where it has only the day itself,
#: and with what it says about the exposure. The order is that of sunpy's ``reference_date``, with T_OBS before
#: DATE-OBS for all, as sunpy has it for SDO: for MDI too it is the middle, and DATE-OBS the beginning.
_CARDS = (
    ("DATE-AVG", "TIME-AVG", "the middle of the exposure"),
    ("MJD-AVG", "", "the middle of the exposure"),
    ("T_OBS", "", "the middle of the exposure"),
    ("DATE-OBS", "TIME-OBS", "usually the beginning of the exposure"),
    ("DATE_OBS", "TIME_OBS", "usually the beginning of the exposure"),
    ("MJD-OBS", "", "usually the beginning of the exposure"),
    ("DATE-BEG", "TIME-BEG", "the beginning of the exposure"),
    ("DATE_BEG", "TIME_BEG", "the beginning of the exposure"),
    ("MJD-BEG", "", "the beginning of the exposure"),
    ("STARTOBS", "", "the beginning of the observation"),
    ("DATE-END", "TIME-END", "the end of the exposure"),
    ("DATE_END", "TIME_END", "the end of the exposure"),
    ("MJD-END", "", "the end of the exposure"),
    ("ENDOBS", "", "the end of the observation"),
)
_BEGIN, _END = ("DATE-BEG", "DATE_BEG", "MJD-BEG"), ("DATE-END", "DATE_END", "MJD-END")

#: Cards that say one thing, each in the order in which it is believed.
_TWINS = (("DATE-AVG", "MJD-AVG"), ("DATE-OBS", "DATE_OBS", "MJD-OBS"), _BEGIN, _END)

_OF_GONG = frozenset(("TELESCOP", "IMTYPE", "DTYPE"))
_READ = frozenset(name for card, clock, _ in _CARDS for name in (card, clock) if name) | _OF_GONG | {"TIMESYS"}

#: Years outside which a date is a mistake, and which time scales and leap seconds do not reach.
_YEARS = (1960, 2100)

#: Seconds by which the dates of one header may differ by rounding.
_ROUNDING = 1.0

#: The same between a date and a number of days, which may have no more than four decimals.
_ROUNDING_OF_DAYS = 5.0

#: Seconds that an exposure takes at most.
_EXPOSED = 86400.0

# These forms may have a time of day behind them: the last group.
_OLD_FITS = re.compile(r"(\d\d)/(\d\d)/(\d\d)(?:[T ]+(\d.*))?$")
_DAY_MONTH_YEAR = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d\d|\d{4})(?:[T ]+(\d.*))?$")
_DAY_ONLY = re.compile(r"\d{4}[-/.]\d\d[-/.]\d\d$|\d{1,2}-[A-Za-z]{3}-\d{4}$|\d{4}-[A-Za-z]{3}-\d\d$")
_MONTHS = dict(zip("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), range(1, 13), strict=True))
_SAYS_SCALE = re.compile(r"[ _]?(TAI|UTC|Z)$")


class _Reading(NamedTuple):
    """A date, what had to be assumed for it, and whether its time of day comes from another card."""

    time: Time
    assumed: str = ""
    joined: bool = False


@dataclass(frozen=True, eq=False)
class Dates:
    """What a header says about when its image was taken.

    Parameters
    ----------
    reference : `~astropy.time.Time`, optional
        Time that the coordinates refer to; `None` where no card gives one.
    origin : `str`
        Card it was taken from, and what this says about the exposure.
    begin, end : `~astropy.time.Time`, optional
        Of the observation, where the header has them and they are in this order.
    scale : `str`
        Time scale of cards that do not say it themselves, as astropy names it.
    problems : `tuple` of `str`
        Sentences about cards that are unreadable or contradict each other, and what is assumed instead; without a
        subject: to be put after the name of the image and "has".
    """

    reference: Time | None = None
    origin: str = ""
    begin: Time | None = None
    end: Time | None = None
    scale: str = "utc"
    problems: tuple[str, ...] = ()

    def cards(self) -> dict[str, str]:
        """Return these dates as plain FITS cards in UTC, whatever the header's own were."""
        cards = {}
        if self.reference is not None:
            cards = {"DATE-OBS": self.reference.utc.isot, "DATE-AVG": self.reference.utc.isot}
        for key, time in (("DATE-BEG", self.begin), ("DATE-END", self.end)):
            if time is not None:
                cards[key] = time.utc.isot
        return cards | {"TIMESYS": "UTC"} if cards else cards


def without_dates(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cards of a header but for those that `read_dates` reads.

    Parameters
    ----------
    header : mapping
    """
    return {key: header[key] for key in header if _canonical(key) not in _READ - _OF_GONG}


def read_dates(header: Mapping[str, Any]) -> Dates:
    """Read when an image was taken.

    Parameters
    ----------
    header : mapping
        A FITS header, a map's ``meta`` or a `dict` in either case. Keys as IDL structures spell them (``DATE_D$OBS``)
        are read as well.
    """
    found: dict[str, Any] = {}
    for key in header:
        name = _canonical(key)
        if name in _READ and name not in found:
            value = _plain(header[key])
            if value is not None:
                found[name] = value
    return _dates(tuple(sorted(found.items())))


def wcs_dates(wcs: WCS) -> dict[str, Any]:
    """Dates of a WCS object as cards.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Whose ``dateobs``, ``mjdobs`` and their like may be empty or NaN.
    """
    own = wcs.wcs
    cards = {f"{kind}-{when}": getattr(own, f"{kind}{when}".lower()) for when in ("OBS", "AVG", "BEG", "END")
             for kind in ("DATE", "MJD")}  # fmt: skip
    cards |= {"TIMESYS": own.timesys}
    return {key: value for key, value in cards.items() if value == value and value != ""}


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
    scale = word.lower() if word in _SCALE_AXES else _scale_name(_first(header, "TIMESYS"))
    return scale if _is_scale(scale) else "utc"


def read_date(value: Any, scale: str = "utc") -> Time | None:
    """Read one date; `None` if it is unreadable.

    Parameters
    ----------
    value : object
        As it stands in a card: text in any of the forms that archives have, or a number.
    scale : `str`
        Time scale (see `time_scale`), unless the date itself says which.
    """
    reading = _read(_plain(value), scale)
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


# Cards


def _canonical(key: str) -> str:
    return str(key).upper().replace("_D$", "-")


def _first(header: Mapping[str, Any], key: str) -> Any:
    return next((header[name] for name in (key, key.lower()) if name in header), None)


def _plain(value: Any) -> str | float | None:
    """Value of a card as a string or a number; `None` for what is no single date or is blank."""
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


def _scale_name(timesys: Any) -> str:
    # Such as 'UTC (TBR)' of Hinode, or 'TT(BIPM)'.
    return str(timesys or "UTC").partition("(")[0].strip().lower()


def _is_scale(name: str) -> bool:
    return _SCALES.get(name, name) in Time.SCALES and name != "local"


def _is_gong(header: Mapping[str, Any]) -> bool:
    """Whether this is a magnetogram of GONG, whose clock runs on GPS time without saying so, as sunpy knows."""
    kind = (header.get("IMTYPE"), header.get("DTYPE"))
    return str(header.get("TELESCOP", "")).endswith("GONG") and kind == ("MAGNETIC", "OBSERVE")


# One observation is asked for its dates by each of its crops, windows and corrected copies.
@lru_cache(maxsize=4096)
def _dates(cards: tuple[tuple[str, Any], ...]) -> Dates:
    header = dict(cards)
    problems: list[str] = []
    scale = _scale_name(header.get("TIMESYS"))
    if not _is_scale(scale):
        problems.append(f"TIMESYS = {header['TIMESYS']!r}, which is no time scale; UTC is assumed")
        scale = "utc"
    if _is_gong(header):
        scale = "gps"
    readings, unreadable = _readings(header, scale)
    best = _best(readings)
    instead = f"{best} = {header[best]!r} is used instead" if best else "no other card gives a date, so it has none"
    problems += [f"{name} = {header[name]!r}, which cannot be read as a date; {instead}" for name in unreadable]
    if best is None:
        return Dates(scale=scale, problems=tuple(problems))
    for name, reading in readings.items():
        if reading.assumed:
            instead = "" if name == best else f"; {best} = {header[best]!r} is used"
            problems.append(f"{name} = {header[name]!r}, {reading.assumed}{instead}")
    begin, end = (next((name for name in group if name in readings), None) for group in (_BEGIN, _END))
    problems += _disagreements(header, readings, best) + _contradictions(header, readings, best, (begin, end))
    times = [None if name is None else readings[name].time for name in (begin, end)]
    if times[0] is not None and times[1] is not None and seconds_between(times[0], times[1]) < 0:
        times = [None, None]
    meaning = next(meaning for name, _, meaning in _CARDS if name == best)
    return Dates(readings[best].time, f"{best}, {meaning}", times[0], times[1], scale, tuple(problems))


def _readings(header: Mapping[str, Any], scale: str) -> tuple[dict[str, _Reading], list[str]]:
    """What every card gives, and the names of those that give nothing."""
    readings: dict[str, _Reading] = {}
    unreadable = []
    for name, clock, _ in _CARDS:
        value = header.get(name)
        if value is None:
            continue
        reading = _read_mjd(value, scale) if name.startswith("MJD") else _read(value, scale, header.get(clock))
        if reading is None:
            unreadable.append(name)
        else:
            readings[name] = reading
    return readings, unreadable


def _best(readings: Mapping[str, _Reading]) -> str | None:
    names = [name for name, _, _ in _CARDS if name in readings]
    best = next((name for name in names if not readings[name].assumed), names[0] if names else None)
    # EIT has 11-DEC-96 and a TIME-OBS of whole seconds beside a DATE_OBS that says it all.
    other = str(best).replace("-", "_")
    return other if best and readings[best].joined and other in readings and not readings[other].joined else best


def _disagreements(header: Mapping[str, Any], readings: Mapping[str, _Reading], best: str) -> list[str]:
    """Sentences about cards that should say the same and do not."""
    found = []
    for group in _TWINS:
        # The beginning of a day that is all a card has is no time to be held against another's.
        names = [name for name in group if name in readings and not readings[name].assumed]
        if best in names:
            names = [best, *(name for name in names if name != best)]
        for name in names[1:]:
            if not _same(names[0], name, header, readings):
                used = names[0] if best in group or group in (_BEGIN, _END) else best
                found.append(
                    f"{name} = {header[name]!r}, which is not the time of its {names[0]} = {header[names[0]]!r}; "
                    f"{used if used == names[0] else f'{used} = {header[used]!r}'} is used"
                )
    return found


def _same(name: str, other: str, header: Mapping[str, Any], readings: Mapping[str, _Reading]) -> bool:
    """Whether two cards give one time, as far as they can be told apart."""
    apart = abs(seconds_between(readings[name].time, readings[other].time))
    days = next((card for card in (name, other) if card.startswith("MJD")), None)
    if days is None:
        return apart <= _ROUNDING
    # wcslib makes a number of whole days of a date whose time of day is in a card of its own.
    whole = float(header[days]).is_integer() and any(readings[card].joined for card in (name, other))
    return apart <= (86400.0 if whole else _ROUNDING_OF_DAYS)


def _contradictions(
    header: Mapping[str, Any], readings: Mapping[str, _Reading], best: str, limits: tuple[str | None, str | None]
) -> list[str]:
    """Sentences about dates of which not all can be right."""
    begin, end = limits
    used = f"{best} = {header[best]!r} is used"
    if end is not None:
        first = begin or next((name for name in ("DATE-OBS", "DATE_OBS") if name in readings), end)
        if seconds_between(readings[first].time, readings[end].time) < -_ROUNDING:
            return [f"{end} = {header[end]!r}, which is before its {first} = {header[first]!r}; {used}"]
    early = begin is not None and seconds_between(readings[begin].time, readings[best].time) < -_ROUNDING
    late = end is not None and seconds_between(readings[best].time, readings[end].time) < -_ROUNDING
    limit = begin if early else end
    if limit is not None and (early or (late and best not in _END)):
        side = "before" if early else "after"
        return [f"{best} = {header[best]!r}, which is {side} its {limit} = {header[limit]!r}; {best} is used"]
    observed = next((name for name in ("DATE-OBS", "DATE_OBS") if name in readings), best)
    # Without an end there is no other sign of it; nothing of which one date is said takes a day.
    if end is None and abs(seconds_between(readings[observed].time, readings[best].time)) > _EXPOSED:
        return [f"{best} = {header[best]!r}, which is days from its {observed} = {header[observed]!r}; {best} is used"]
    return []


def seconds_between(first: Time, second: Time) -> float:
    """Seconds from one moment to another, later ones positive.

    The same as the difference of the two, at a tenth of its cost: a `~astropy.time.Time` remembers its TAI.
    """
    a, b = first.tai, second.tai
    return float(((b.jd1 - a.jd1) + (b.jd2 - a.jd2)) * 86400)


# One card


def _read(value: str | float | None, scale: str, clock: Any = None) -> _Reading | None:
    """Read a date that is written out; ``clock`` is the time of day where the date may be a day alone."""
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
    return None if time is None else _Reading(time, assumed, joined)


def _iso(year: str, month: str, day: str, time_of_day: str | None) -> str:
    date_part = f"{year}-{int(month):02d}-{int(day):02d}"
    return f"{date_part}T{time_of_day}" if time_of_day else date_part


@lru_cache(maxsize=4096)
def _parsed(text: str, scale: str) -> Time | None:
    own = _SAYS_SCALE.search(text)
    if own is not None:
        scale = {"TAI": "tai"}.get(own.group(1), "utc")
        # sunpy reads 2024.10.17_00:00:00_TAI; FITS allows no suffix, and others have a blank before it.
        text = text if re.match(r"\d{4}\.\d\d\.\d\d_", text) else text[: own.start()].strip()
    return _plausible(lambda: parse_time(text, scale=_SCALES.get(scale, scale)), scale)


def _read_mjd(value: str | float, scale: str) -> _Reading | None:
    time = read_mjd(value, scale=scale) if isinstance(value, float) else None
    return None if time is None else _Reading(time)


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
