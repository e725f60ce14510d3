"""Which images go with which targets: by time and detector, from headers alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning

from sunalign._progress import tracked
from sunalign.archive._options import plain_value
from sunalign.exceptions import AlignmentError, CoverageError, ImageError, describe_error, warn_user
from sunalign.files.catalog import SUFFIXES, Listing, checked_gap
from sunalign.files.io import is_corrected
from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.wcs.celestial import celestial_wcs
from sunalign.wcs.fits_plane import first_on_sky

__all__ = ["References", "head_of", "make_manifest", "span_of"]


def make_manifest(
    targets: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    detector: str | None = None,
    pattern: str = "*",
    nearest: bool | None = None,
    max_gap: u.Quantity | None = None,
    relative_to: str | os.PathLike[str] | None = None,
    progress: bool | Callable[..., Any] | None = None,
) -> Table:
    """Make the manifest of all targets in a directory, with the images of an archive that go with each by time.

    Parameters
    ----------
    targets, images : path
        Directories; both are searched with their sub-directories, and only headers are read.
    detector : `str`, optional
        Only images of this detector, such as ``"fsi174"``; see `sunalign.find_images`.
    pattern : `str`
        Only targets with such a name, such as ``"solo_L2.5_spice*"``.
    nearest : `bool`, optional
        Whether a target gets the one image nearest to its middle, or all that cover its time. By default a target
        whose pixels have one time gets the nearest, a raster all.
    max_gap : `~astropy.units.Quantity`, optional
        Longest time without an image.
    relative_to : path, optional
        Directory of the manifest: paths below it are written as seen from there. By default they are absolute.
    progress : `bool` or callable, optional
        True for a bar on the terminal, or something like `tqdm.tqdm`.

    Returns
    -------
    `~astropy.table.Table`
        ``id``, ``target`` and ``references``. Where there is no image yet, ``directory`` and what else was asked for
        are given instead, so that the next run looks again.

    Warns
    -----
    ~sunalign.exceptions.SunalignUserWarning
        Some files are no targets, or are corrected already, or there is no image for some of them.
    """
    checked_gap(max_gap)
    paths = _targets(targets, pattern)
    references, folder = References(progress), str(Path(images).resolve())
    references.check(folder, detector, images)
    rows, odd, done = [], [], []
    alone: list[tuple[str, CoverageError]] = []
    # What finds the images at the next run as they were sought here.
    sought = {
        "directory": "",
        "detector": detector or "",
        "max_gap": plain_value(max_gap) or "",
        "reference_builder": "image" if nearest else "",
    }

    def shown(place: str | os.PathLike[str]) -> str:
        below = relative_to is not None and Path(place).is_relative_to(Path(relative_to).resolve())
        return os.path.relpath(place, Path(str(relative_to)).resolve()) if below else str(place)

    names = _names(paths, Path(targets))
    for path in tracked(paths, progress, "targets"):
        row = {"id": names[path], "target": shown(path), "references": ""} | dict.fromkeys(sought, "")
        try:
            head = head_of(path)
            span = _span(head)
        except (AlignmentError, OSError) as error:
            odd.append(f"{path.name} ({describe_error(error)})")
            continue
        if is_corrected(head.meta):
            done.append(path.name)
            continue
        try:
            found = references.find(folder, detector, span, nearest, max_gap, path)
            row["references"] = ";".join(shown(image) for image in found)
        except CoverageError as error:
            alone.append((path.name, error))
            row |= sought | {"directory": shown(folder)}
        rows.append(row)
    _tell_of_the_rest(targets, odd, done, alone, len(rows))
    table = Table(rows=rows, names=list(rows[0]), dtype=[str] * len(rows[0]))
    table.remove_columns([name for name in sought if not any(table[name])])
    return table


def _tell_of_the_rest(
    targets: str | os.PathLike[str],
    odd: Sequence[str],
    done: Sequence[str],
    alone: Sequence[tuple[str, CoverageError]],
    count: int,
) -> None:
    """Warn of files that are in no row, and of rows without an image."""
    if not count:
        why = odd[0] if odd else "all of its files were corrected by sunalign already"
        raise AlignmentError(f"{targets} holds no target: {why}.")
    if odd:
        warn_user(f"Left out of {targets}, as no targets: {_some(odd)}.")
    if done:
        warn_user(f"Left out of {targets}, as corrected by sunalign already: {_some(done)}.")
    if alone:
        listed = _some([name for name, _ in alone])
        warn_user(f"There is no image for {len(alone)} of the {count} targets: {listed}. {alone[0][1]}")


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _targets(root: str | os.PathLike[str], pattern: str) -> list[Path]:
    folder = Path(root)
    if not folder.is_dir():
        raise AlignmentError(f"There is no directory {folder}; give the one that holds the targets.")
    found = (path for path in folder.resolve().rglob(pattern) if not path.name.startswith("."))
    files = sorted(path for path in found if path.name.lower().endswith(SUFFIXES) and path.is_file())
    if not files:
        raise AlignmentError(f"{folder} has no FITS file with a name like {pattern!r}.")
    return files


def _names(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """Ids: the file's name without its ending, with its folders where that alone is not unique."""
    stems = {path: _plain(_stem(path.name)) for path in paths}
    count: dict[str, int] = {}
    for stem in stems.values():
        count[stem.casefold()] = count.get(stem.casefold(), 0) + 1
    made: dict[Path, str] = {}
    taken: set[str] = set()
    for path, stem in stems.items():
        name = stem
        if count[stem.casefold()] > 1:
            folders = path.parent.relative_to(root.resolve()).parts
            name = _plain("_".join([*folders, stem]))
        k, unique = 1, name
        while unique.casefold() in taken:
            k, unique = k + 1, f"{name[:90]}_{k + 1}"
        taken.add(unique.casefold())
        made[path] = unique
    return made


def _stem(name: str) -> str:
    ending = next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix))
    return name[: -len(ending)]


def _plain(name: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "_" for c in name).lstrip(".-")
    return kept[-100:].lstrip(".-") or "target"


# Times.


def head_of(path: str | os.PathLike[str]) -> Image:
    """Image of a file without its pixels, which are not read: its ``data`` are not to be looked at.

    Parameters
    ----------
    path : path-like
        FITS file.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"There is no file {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path) as hdus:
                image = first_on_sky(hdus, path)
                header, shape = image.header.copy(), image.shape[-2:]
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path} cannot be read as FITS ({describe_error(error)}).") from error
    return Image(np.broadcast_to(np.nan, shape), PixelGrid(celestial_wcs(header), shape), header, None, path.name)


def span_of(path: str | os.PathLike[str]) -> tuple[float, float]:
    """First and last time of a target, in seconds of Unix."""
    return _span(head_of(path))


def _span(image: Image) -> tuple[float, float]:
    times = image.times
    if times is None:
        dates = image.dates
        raise ImageError(f"{image.name} {dates.undated} and no time axis, so it is at no time; {dates.remedy}.")
    seconds = float(times.epoch.unix) + np.array([times.seconds.min(), times.seconds.max()])
    return float(seconds[0]), float(seconds[1])


class References:
    """Images by directory and detector, listed once each.

    Parameters
    ----------
    progress : `bool` or callable, optional
        As in `make_manifest`, for the listing.
    without : path, optional
        Directory whose files are no references, wherever it is: a corrected copy has the date of its target.
    """

    def __init__(
        self, progress: bool | Callable[..., Any] | None = None, without: str | os.PathLike[str] | None = None
    ) -> None:
        self._progress = progress
        self._without = None if without is None else Path(without)
        self._listings: dict[tuple[str, str | None], Listing] = {}

    def find(
        self,
        directory: str,
        detector: str | None,
        span: tuple[float, float],
        nearest: bool | None = None,
        max_gap: u.Quantity | None = None,
        own: Path | None = None,
    ) -> list[Path]:
        """Images for a span of time, without ``own``, the file they are sought for.

        Raises
        ------
        ~sunalign.exceptions.CoverageError
            There are none, or too few.
        """
        if not Path(directory).is_dir():
            raise CoverageError(f"There is no directory {directory}; give the one that holds the images.")
        listing = self._listing(directory, detector)
        begin, finish = Time(np.array(span), format="unix")
        if nearest or (nearest is None and span[0] == span[1]):
            return [listing.nearest(begin + (finish - begin) / 2, max_gap, own)]
        return listing.covering(begin, finish, max_gap, own)

    def check(self, directory: str, detector: str | None, given: str | os.PathLike[str]) -> None:
        """Refuse a directory that is not there, as it was given, and a detector that none of its images is of.

        A directory that has no image yet is none of that: they may come.

        Parameters
        ----------
        directory : `str`
            Where the images are.
        detector : `str` or `None`
            Of which one of them has to be; `None` for any.
        given : path-like
            The directory as errors name it.
        """
        if not Path(directory).is_dir():
            raise AlignmentError(f"There is no directory {given}; give the one that holds the images.")
        listing = self._listing(directory, detector)
        if listing.detectors and not listing.entries:
            raise AlignmentError(
                f"{given} has no image of '{detector}'; detectors there: {', '.join(listing.detectors)}."
            )

    def _listing(self, directory: str, detector: str | None) -> Listing:
        key = (directory, detector)
        if key not in self._listings:
            self._listings[key] = Listing(Path(directory), None, detector, self._progress, self._without)
        return self._listings[key]
