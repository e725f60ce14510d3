"""Maps as sunpy reads their dates, and maps whose dates it cannot read."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from erfa import ErfaWarning

import astropy.units as u
from astropy.time import ScaleValueError

from sunpy.map import GenericMap
from sunpy.util import MetaDict
from sunpy.util.exceptions import SunpyMetadataWarning

from sunalign.geometry.dates import Dates, read_dates, without_dates

__all__ = ["STOPS_AT_A_DATE", "dates_itself", "quiet_about_metadata", "readable_map"]

#: What sunpy raises for a card that is no date, and for a time scale that astropy does not have.
STOPS_AT_A_DATE = (ValueError, TypeError, AttributeError, ScaleValueError)

#: What a class of maps overrides to read dates in a way of its own.
_OWN_WAYS = ("reference_date", "_get_date", "_timesys", "_date_obs", "date")


def readable_map(source: GenericMap) -> GenericMap:
    """Return a map whose dates sunpy reads as `sunalign.geometry.dates` does: nearly always the map itself.

    Otherwise it is a copy with plain cards in UTC. sunpy raises an error for a DATE-AVG that is no date and for
    ``TIMESYS='GPS'``, and reads neither TIME-OBS, MJD-OBS nor the cards of IDL structures.

    Parameters
    ----------
    source : `~sunpy.map.GenericMap`
        Never changed.
    """
    dates = read_dates(source.meta)
    if dates_itself(type(source)) or _reads_plainly(source, dates) or _agrees(source, dates):
        return source
    # The constructor is not called: some sources change meta or data there.
    new = copy.copy(source)
    new.meta = MetaDict({**without_dates(source.meta), **dates.cards()})
    # sunpy keeps `wcs` in the instance under a hash of the meta.
    new.__dict__.pop("_meta_hash", None)
    return new


def dates_itself(cls: type[GenericMap]) -> bool:
    """Whether a map is of somebody else's class, which knows where its instrument keeps the date."""
    owner = next(base for base in cls.__mro__ if "reference_date" in vars(base))
    return not owner.__module__.startswith("sunpy.")


def _reads_plainly(source: GenericMap, dates: Dates) -> bool:
    """Whether sunpy cannot but agree, so that it need not be asked: plain cards, and no way of the class's own."""
    plain = (
        dates.origin.partition(",")[0] == "DATE-AVG" and dates.scale == "utc" and not (dates.problems or dates.offsets)
    )
    return plain and all(getattr(type(source), name) is getattr(GenericMap, name) for name in _OWN_WAYS)


def _agrees(source: GenericMap, dates: Dates) -> bool:
    if dates.reference is None:
        return not (dates.problems or dates.unreadable)
    try:
        with quiet_about_metadata():
            read = (source.reference_date, source.date, source.date_start, source.date_end)
            return abs(float((read[0] - dates.reference).to_value(u.s))) < 1e-3
    except STOPS_AT_A_DATE:
        return False


@contextmanager
def quiet_about_metadata() -> Iterator[None]:
    """Leave out sunpy's warnings about what is told by those who need it: dates, observers; a unit is never needed."""
    with warnings.catch_warnings():
        for message in ("Missing metadata for observ", "Could not parse unit string", 'Found "TAI" in time string'):
            warnings.filterwarnings("ignore", message, SunpyMetadataWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        # Of years beyond the leap seconds that are known.
        warnings.simplefilter("ignore", ErfaWarning)
        yield
