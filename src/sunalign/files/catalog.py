"""Find the images that go with a raster: in a directory, or, as a query, in an archive."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning

from sunpy.time import parse_time

from sunalign._progress import tracked
from sunalign.exceptions import AlignmentError, CoverageError
from sunalign.geometry.dates import read_dates
from sunalign.geometry.observers import spacecraft
from sunalign.images import to_image
from sunalign.wcs.header import plain_values, sky_axes

__all__ = ["fido_query", "find_images"]

SUFFIXES = (".fits", ".fits.gz", ".fit", ".fts", ".fits.fz", ".fts.gz")

#: File names that tell detector and time. EUI and AIA (JSOC) have the time to a second or better.
_PATTERNS = (
    # solo_L2_eui-fsi174-image_20241017T014055208_V02.fits
    re.compile(r"solo_L\d\w*_eui-(?P<detector>[a-z]+\d*)-\w+_(?P<time>\d{8}T\d{6,9})(_V(?P<version>\d+))?", re.I),
    # aia.lev1_euv_12s.2024-10-17T014057Z.171.image_lev1.fits
    re.compile(r"(?P<name>aia)\.lev1\w*\.(?P<time>\d{4}-\d\d-\d\dT\d{6})Z\.(?P<detector>\d+)", re.I),
    # aia_lev1_171a_2024_10_17t01_40_57_35z_image_lev1.fits
    re.compile(r"(?P<name>aia)_lev1\w*?_(?P<detector>\d+)a_(?P<time>\d{4}_\d\d_\d\dt\d\d_\d\d_\d\d(_\d+)?)z", re.I),
    # AIA20241017_014057_0171.fits
    re.compile(r"(?P<name>aia)_?(?P<time>\d{8}_\d{6})_0*(?P<detector>\d+)", re.I),
    # hmi.M_720s.20241017_014800_TAI.1.magnetogram.fits
    re.compile(r"(?P<name>hmi)\.(?P<detector>[a-z]+)_\d+s\w*\.(?P<time>\d{8}_\d{6})_(?P<scale>TAI)", re.I),
    # hmi_m_45s_2024_10_17_01_42_00_tai_magnetogram.fits
    re.compile(r"(?P<name>hmi)_(?P<detector>[a-z]+)_\d+s_(?P<time>\d{4}(_\d\d){5})_(?P<scale>tai)", re.I),
    # swap_lv1_20241017_014055.fits
    re.compile(r"(?P<name>swap)_lv(?P<detector>\d\w*)_(?P<time>\d{8}_\d{6})", re.I),
)


@dataclass(frozen=True)
class _Entry:
    """A file: what it shows, when; ``version`` decides between two copies of one image."""

    path: Path
    detector: str
    date: Time
    version: int = 0


def find_images(
    directory: str | os.PathLike[str],
    start: Any,
    end: Any,
    *,
    detector: str | None = None,
    max_gap: u.Quantity | None = None,
    progress: bool | Callable[..., Any] | None = None,
) -> list[Path]:
    """Find the images that cover a span of time.

    Parameters
    ----------
    directory : path
        Searched with all its sub-directories.
    start, end : {parse_time_types}
        Span to be covered. One image before it and one after it are included where there are any, so that both ends
        have neighbours in time.
    detector : `str`, optional
        Part of the detector's name, whatever its case: ``"fsi174"``, ``"fsi"``, ``"aia171"``, ``"hmi"``, ``"swap"``.
    max_gap : `~astropy.units.Quantity`, optional
        Longest time without an image; by default two and a half times the usual interval between the images found, at
        least 15 minutes and at most two hours.

    progress : `bool` or callable, optional
        True for a bar on the terminal, or something like `tqdm.tqdm`.

    Returns
    -------
    `list` of `~pathlib.Path`
        In the order of time. Of several versions of an image the latest.

    Raises
    ------
    ~sunalign.exceptions.CoverageError
        The span is not covered; the nearest images are named.

    Notes
    -----
    Names of EUI, AIA, HMI and SWAP tell detector and time; of other files the header is read. What a file is gets
    remembered until the file changes.
    """
    root = Path(directory)
    if not root.is_dir():
        raise AlignmentError(f"There is no directory {root}; give the one that holds the images.")
    begin, finish = parse_time(start), parse_time(end)
    if finish < begin:
        raise AlignmentError(f"'start' {begin.isot} is after 'end' {finish.isot}; swap them.")
    checked_gap(max_gap)
    listed = _listing(root, progress)
    return Listing(root, listed, detector).covering(begin, finish, max_gap)


def checked_gap(max_gap: u.Quantity | None) -> None:
    """Refuse a longest time without an image that is none."""
    if max_gap is None:
        return
    if not isinstance(max_gap, u.Quantity) or not max_gap.unit.is_equivalent(u.s):
        raise TypeError(f"'max_gap' is a duration such as 20 * u.min; got {max_gap!r}.")
    if not max_gap > 0 * u.s:
        raise ValueError(f"'max_gap' is longer than 0; got {max_gap}.")


class Listing:
    """Images of one detector below a directory, in the order of time: read once, asked often.

    Parameters
    ----------
    root : `~pathlib.Path`
        Searched with all its sub-directories.
    entries : `list`, optional
        What is there, if that is known.
    detector : `str`, optional
        As in `find_images`.
    progress : `bool` or callable, optional
        As in `find_images`.
    without : `~pathlib.Path`, optional
        Directory whose files do not count, should it be below the other.
    """

    def __init__(
        self,
        root: Path,
        entries: list[_Entry] | None = None,
        detector: str | None = None,
        progress: bool | Callable[..., Any] | None = None,
        without: Path | None = None,
    ) -> None:
        self.root, self.detector = root, detector
        found = _listing(root, progress) if entries is None else entries
        if without is not None:
            left_out = root / os.path.relpath(os.path.realpath(without), os.path.realpath(root))
            found = [entry for entry in found if not entry.path.is_relative_to(left_out)]
        self.detectors = sorted({entry.detector for entry in found})
        self.entries = _latest([e for e in found if detector is None or _plain(detector) in _plain(e.detector)])
        self.seconds = np.array([float(entry.date.unix) for entry in self.entries])

    def covering(
        self, begin: Time, finish: Time, max_gap: u.Quantity | None = None, own: Path | None = None
    ) -> list[Path]:
        """Images for a span of time, as `find_images` gives them.

        Parameters
        ----------
        begin, finish : `~astropy.time.Time`
            Ends of the span.
        max_gap : `~astropy.units.Quantity`, optional
            Longest time without an image; by default 2.5 times the usual interval between images,
            15 minutes at least and 2 hours at most.
        own : `~pathlib.Path`, optional
            File that the images are sought for, which is not one of them.

        Returns
        -------
        `list` of `~pathlib.Path`
            In order of time, with one before and one after the span where they are near enough.
        """
        self._refuse_nothing()
        start = float(begin.unix)
        span = float(finish.unix) - start
        seconds, indices = self.seconds, np.arange(len(self.entries))
        if (mine := self._index_of(own)) is not None:
            seconds, indices = np.delete(seconds, mine), np.delete(indices, mine)
        # Besides those within, one before and one after.
        first = max(int(np.searchsorted(seconds, start)) - 1, 0)
        last = min(int(np.searchsorted(seconds, start + span, side="right")), len(indices) - 1)
        dates = {int(indices[k]): float(seconds[k] - start) for k in range(first, last + 1)}
        most = _usual_gap(list(dates.values())) if max_gap is None else float(max_gap.to_value(u.s))
        # A neighbour further away than a gap may be is no help.
        chosen = [i for i, t in dates.items() if -most <= t <= span + most]
        gap, at = _longest_gap([dates[i] for i in chosen], span)
        if gap > most:
            raise CoverageError(self._uncovered(begin, finish, (gap, at), most))
        return [self.entries[i].path for i in chosen]

    def nearest(self, time: Time, max_gap: u.Quantity | None = None, own: Path | None = None) -> Path:
        """Image nearest to a time.

        Parameters
        ----------
        time : `~astropy.time.Time`
        max_gap : `~astropy.units.Quantity`, optional
            How far from it in time it may be; 15 minutes by default.
        own : `~pathlib.Path`, optional
            As in `covering`.
        """
        self._refuse_nothing()
        away = np.abs(self.seconds - float(time.unix))
        if (mine := self._index_of(own)) is not None:
            away[mine] = np.inf
            if len(away) == 1:
                raise CoverageError(f"{self.root} has no image but {self.entries[mine].path.name} itself; add others.")
        best = int(np.argmin(away))
        most = 900.0 if max_gap is None else float(max_gap.to_value(u.s))
        if away[best] > most:
            raise CoverageError(
                f"{self.root} has no image within {most / 60:.3g} min of {time.isot[:19]}; the nearest is "
                f"{self.entries[best].path.name} ({self.entries[best].date.utc.isot[:19]}). Fetch more, or allow a "
                f"longer max_gap."
            )
        return self.entries[best].path

    def _index_of(self, own: Path | None) -> int | None:
        """Where a file is among the images, if it is."""
        if own is None:
            return None
        found = [
            i for i in self._named.get(own.name, ()) if os.path.realpath(self.entries[i].path) == os.path.realpath(own)
        ]
        return found[0] if found else None

    @cached_property
    def _named(self) -> dict[str, list[int]]:
        named: dict[str, list[int]] = {}
        for i, entry in enumerate(self.entries):
            named.setdefault(entry.path.name, []).append(i)
        return named

    def _refuse_nothing(self) -> None:
        if self.entries:
            return
        asked = "" if self.detector is None else f" of '{self.detector}'"
        known = ", ".join(self.detectors)
        there = f"detectors there: {known}" if known else "it holds no FITS image with a date"
        raise CoverageError(f"{self.root} has no image{asked}; {there}.")

    def _uncovered(self, begin: Time, finish: Time, hole: tuple[float, float], most: float) -> str:
        gap, at = hole
        span = float((finish - begin).to_value(u.s))
        middle = float(begin.unix) + at + (span if np.isinf(gap) else gap) / 2
        nearest = np.argsort(np.abs(self.seconds - middle), kind="stable")[:2]
        named = " and ".join(
            f"{self.entries[i].path.name} ({self.entries[i].date.utc.isot[:19]})" for i in sorted(nearest)
        )
        where = (begin + at * u.s).isot[:19]
        size = "no image near it" if np.isinf(gap) else f"a gap of {gap / 60:.1f} min from {where}"
        return (
            f"{self.root} does not cover {begin.isot[:19]} to {finish.isot[:19]}: there is {size}, and {most / 60:.3g} "
            f"min are allowed. The nearest images are {named}. Fetch more, or allow a longer max_gap."
        )


def _usual_gap(dates: list[float]) -> float:
    usual = float(np.median(np.diff(dates))) if len(dates) > 1 else 0.0
    return float(np.clip(2.5 * usual, 900, 7200))


def _longest_gap(dates: list[float], span: float) -> tuple[float, float]:
    """Longest time without an image that touches the span from 0 to ``span``, and where it begins."""
    if not dates:
        return np.inf, 0.0
    # The ends of the span count where there is no image beyond them.
    marks = sorted({*dates, min(0.0, dates[0]), max(span, dates[-1])})
    gaps = [(b - a, a) for a, b in pairwise(marks) if b > 0 and a < span]
    return max(gaps, default=(0.0, 0.0))


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _latest(entries: list[_Entry]) -> list[_Entry]:
    """In the order of time, the latest version of each."""
    found: dict[tuple[str, str, str], _Entry] = {}
    for entry in entries:
        # Two files of one time are one image if they are versions of it, or copies in two places.
        key = (entry.detector, entry.date.utc.isot, "" if entry.version else entry.path.name)
        if key not in found or (entry.version, entry.path.name) > (found[key].version, found[key].path.name):
            found[key] = entry
    return sorted(found.values(), key=lambda entry: (float(entry.date.utc.mjd), entry.path.name))


def _listing(root: Path, progress: bool | Callable[..., Any] | None) -> list[_Entry]:
    files = tracked(_files(root), progress, "headers")
    entries = (_entry(str(path), size, changed) for path, size, changed in files)
    return [entry for entry in entries if entry is not None]


def _files(root: Path) -> Iterator[tuple[Path, int, int]]:
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            # What begins with a dot is being written, or not meant to be seen.
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(folder, name)
                try:
                    status = path.stat()
                except OSError:
                    continue  # It went away since, or is a link to nothing.
                yield path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=65536)
def _entry(path: str, size: int, changed: int) -> _Entry | None:
    """What a file is, by its name or else its header; `None` if it is no dated image. Size and time make it anew."""
    file = Path(path)
    return _from_name(file) or _from_header(file)


def _from_name(path: Path) -> _Entry | None:
    for pattern in _PATTERNS:
        match = pattern.search(path.name)
        if match is None:
            continue
        found = match.groupdict()
        digits = re.sub(r"\D", "", found["time"])
        date, fraction = digits[:14], digits[14:]
        stamp = f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14]}"
        try:
            time = Time(f"{stamp}.{fraction or 0}", scale=(found.get("scale") or "utc").lower())
        except ValueError:
            return None
        detector = f"{found.get('name') or ''}{found['detector']}".lower()
        return _Entry(path, detector, time, int(found.get("version") or 0))
    return None


def _from_header(path: Path) -> _Entry | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path) as hdus:
                images = (hdu for hdu in hdus if hdu.is_image and len(hdu.shape) >= 2)
                first = next(images, None)
                if first is not None:
                    # As an image is read: the first on the sky. There need be none, as in a quicklook of another make.
                    on_sky = (hdu for hdu in (first, *images) if sky_axes(plain_values(hdu.header)) is not None)
                    return _described(path, next(on_sky, first).header)
    except (OSError, ValueError, TypeError):
        return None
    return None


def _described(path: Path, header: fits.Header) -> _Entry | None:
    date = read_dates(header).reference
    if date is None:
        return None
    words = [str(header.get(key, "")) for key in ("INSTRUME", "DETECTOR", "WAVELNTH")]
    detector = "".join(word for i, word in enumerate(words) if word and word not in words[:i]).replace(" ", "").lower()
    return _Entry(path, detector or spacecraft(header).lower() or "unknown", date)


def fido_query(
    target: Any,
    *,
    detector: str = "fsi174",
    level: int = 2,
    margin: u.Quantity = 15 * u.min,
) -> Any:
    """Build, and do not run, a query for the images that go with a target.

    Parameters
    ----------
    target : image or raster
        See `sunalign.images.to_image`; its time axis or its dates say when.
    detector : `str`
        ``"fsi174"`` or ``"fsi304"``, ``"hrieuv174"``: the image product of EUI.
    level : `int`
        Of the data: 1 or 2.
    margin : `~astropy.units.Quantity`
        Time to be searched before and after the target.

    Returns
    -------
    `sunpy.net.attr.AttrAnd`
        To be given to `sunpy.net.Fido.search`. With sunpy-soar installed it names the product in the Solar Orbiter
        archive; without it, instrument, level and wavelength.

    Examples
    --------
    >>> import sunalign
    >>> from sunalign import simulate
    >>> pair = simulate.raster_pair(n_steps=16, n_slit=64)
    >>> query = sunalign.fido_query(pair.target)  # doctest: +SKIP
    >>> files = Fido.fetch(Fido.search(query))  # doctest: +SKIP
    """
    try:
        from sunpy.net import attrs as a
    except ImportError as error:
        raise ImportError(
            f"A Fido query needs sunpy's network dependencies ({error.name} is missing); pip install 'sunpy[net]'."
        ) from error
    if not isinstance(margin, u.Quantity) or not margin.unit.is_equivalent(u.s):
        raise TypeError(f"'margin' is a duration such as 15 * u.min; got {margin!r}.")
    image = to_image(target)
    times = image.times
    if times is None:
        dates = image.dates
        raise AlignmentError(f"{image.name} {dates.undated}, so there is nothing to search by; {dates.remedy}.")
    when = times.at(np.array([0.0, image.grid.shape[1] - 1.0]))
    query = a.Time(when.min() - margin, when.max() + margin) & a.Instrument("EUI") & a.Level(level)
    try:
        import sunpy_soar  # noqa: F401  (importing it registers its attributes)
    except ImportError:
        wavelength = re.search(r"\d+$", detector)
        return query & a.Wavelength(int(wavelength.group()) * u.angstrom) if wavelength else query
    return query & a.soar.Product(f"eui-{detector.lower()}-image")
