"""When an image was taken: the one reader of dates, whatever the image came as.

A Map, a cube, ``(data, header)``, a file and the catalogue of files all ask `read_dates`, so that one header has one
date. It agrees with ``reference_date`` of sunpy's maps wherever that is a date of the header.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from astropy.time import Time
from astropy.wcs import WCS

from sunalign.geometry.date_forms import Reading, is_scale, plain, reading_of, reading_of_mjd, scale_name

__all__ = [
    "Dates",
    "read_dates",
    "seconds_between",
    "wcs_dates",
    "without_dates",
]

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

#: Names of the scale that an offset is one from.
_UTC = ("utc", "ut", "gmt")

#: Seconds by which the dates of one header may differ by rounding.
_ROUNDING = 1.0

#: The same between a date and a number of days, which may have no more than four decimals.
_ROUNDING_OF_DAYS = 5.0

#: Seconds that an exposure takes at most.
_EXPOSED = 86400.0


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
    unreadable : `tuple` of `str`
        Cards that cannot be read as dates, with what they say. Where there is no other date it is for those who need
        one to tell of them, because only they know what is assumed then; see `undated`.
    offsets : `bool`
        Whether a card says how far its clock is ahead of UTC, which FITS does not know.
    """

    reference: Time | None = None
    origin: str = ""
    begin: Time | None = None
    end: Time | None = None
    scale: str = "utc"
    problems: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    offsets: bool = False

    @property
    def undated(self) -> str:
        """What an image without a date is told to have, after its name: a card that cannot be read, or nothing."""
        return f"has {_cannot_be_read(self.unreadable)}" if self.unreadable else "has no date"

    @property
    def remedy(self) -> str:
        """The next step for an image without a date."""
        card = self.unreadable[0].partition(" ")[0] if self.unreadable else ""
        return f"mend {card} in its header" if card else "add DATE-OBS to its header"

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
            value = plain(header[key])
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


# Cards


def _canonical(key: str) -> str:
    return str(key).upper().replace("_D$", "-")


def _is_gong(header: Mapping[str, Any]) -> bool:
    """Whether this is a magnetogram of GONG, whose clock runs on GPS time without saying so, as sunpy knows."""
    kind = (header.get("IMTYPE"), header.get("DTYPE"))
    return str(header.get("TELESCOP", "")).endswith("GONG") and kind == ("MAGNETIC", "OBSERVE")


# One observation is asked for its dates by each of its crops, windows and corrected copies.
@lru_cache(maxsize=4096)
def _dates(cards: tuple[tuple[str, Any], ...]) -> Dates:
    header = dict(cards)
    problems: list[str] = []
    scale = scale_name(header.get("TIMESYS"))
    if not is_scale(scale):
        problems.append(f"TIMESYS = {header['TIMESYS']!r}, which is no time scale; UTC is assumed")
        scale = "utc"
    contradicted = scale not in _UTC
    if _is_gong(header):
        scale = "gps"
    readings, unreadable = _readings(header, scale)
    best = _best(readings)
    unread = tuple(f"{name} = {header[name]!r}" for name in unreadable)
    if best is None:
        return Dates(scale=scale, problems=tuple(problems), unreadable=unread)
    if unread:
        problems.append(f"{_cannot_be_read(unread)}; {best} = {header[best]!r} is used instead")
    for name, reading in readings.items():
        if reading.assumed:
            instead = "" if name == best else f"; {best} = {header[best]!r} is used"
            problems.append(f"{name} = {header[name]!r}, {reading.assumed}{instead}")
    offsets = [name for name, reading in readings.items() if reading.offset is not None]
    if offsets and contradicted:
        said = _listed(_card(header, name, readings[name]) for name in offsets)
        problems.append(f"{said}, whose offset from UTC contradicts TIMESYS = {header['TIMESYS']!r}; UTC is assumed")
    begin, end = (next((name for name in group if name in readings), None) for group in (_BEGIN, _END))
    problems += _disagreements(header, readings, best) + _contradictions(header, readings, best, (begin, end))
    times = [None if name is None else readings[name].time for name in (begin, end)]
    if times[0] is not None and times[1] is not None and seconds_between(times[0], times[1]) < 0:
        times = [None, None]
    meaning = next(meaning for name, _, meaning in _CARDS if name == best)
    return Dates(
        readings[best].time, f"{best}, {meaning}", times[0], times[1], scale, tuple(problems), unread,
        any(readings[name].offset for name in offsets),
    )  # fmt: skip


def _cannot_be_read(cards: Sequence[str]) -> str:
    return f"{_listed(cards)}, which cannot be read as {'a date' if len(cards) == 1 else 'dates'}"


def _listed(cards: Iterable[str]) -> str:
    *others, last = cards
    return f"{', '.join(others)} and {last}" if others else last


def _card(header: Mapping[str, Any], name: str, reading: Reading) -> str:
    """The card that a time of day comes from, with what it says."""
    if reading.joined:
        name = next(clock for card, clock, _ in _CARDS if card == name)
    return f"{name} = {header[name]!r}"


def _readings(header: Mapping[str, Any], scale: str) -> tuple[dict[str, Reading], list[str]]:
    """What every card gives, and the names of those that give nothing."""
    readings: dict[str, Reading] = {}
    unreadable = []
    for name, clock, _ in _CARDS:
        value = header.get(name)
        if value is None:
            continue
        reading = (
            reading_of_mjd(value, scale) if name.startswith("MJD") else reading_of(value, scale, header.get(clock))
        )
        if reading is None:
            unreadable.append(name)
        else:
            readings[name] = reading
    return readings, unreadable


def _best(readings: Mapping[str, Reading]) -> str | None:
    names = [name for name, _, _ in _CARDS if name in readings]
    best = next((name for name in names if not readings[name].assumed), names[0] if names else None)
    # EIT has 11-DEC-96 and a TIME-OBS of whole seconds beside a DATE_OBS that says it all.
    other = str(best).replace("-", "_")
    return other if best and readings[best].joined and other in readings and not readings[other].joined else best


def _disagreements(header: Mapping[str, Any], readings: Mapping[str, Reading], best: str) -> list[str]:
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


def _same(name: str, other: str, header: Mapping[str, Any], readings: Mapping[str, Reading]) -> bool:
    """Whether two cards give one time, as far as they can be told apart."""
    apart = abs(seconds_between(readings[name].time, readings[other].time))
    days = next((card for card in (name, other) if card.startswith("MJD")), None)
    if days is None:
        return apart <= _ROUNDING
    ahead = next((readings[card].offset for card in (name, other) if readings[card].offset is not None), None)
    if ahead is not None:
        # wcslib reads the clock and leaves out what follows it.
        date = next(readings[card].time for card in (name, other) if card != days)
        return min(apart, abs(86400.0 * (float(header[days]) - float(date.utc.mjd)) - ahead)) <= _ROUNDING_OF_DAYS
    # wcslib makes a number of whole days of a date whose time of day is in a card of its own.
    whole = float(header[days]).is_integer() and any(readings[card].joined for card in (name, other))
    return apart <= (86400.0 if whole else _ROUNDING_OF_DAYS)


def _contradictions(
    header: Mapping[str, Any], readings: Mapping[str, Reading], best: str, limits: tuple[str | None, str | None]
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
