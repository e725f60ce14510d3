"""Tables of the pointing of the columns that files carry.

Three kinds are read. Our own, a binary table extension. ``WCSDVARR`` arrays that ``CWDISi = 'Lookup'`` and the
record-valued ``DWi`` name, as in the files of SPICE: arcseconds, which the tool that is published with those files
*subtracts* from the coordinates. And ``CPDISi`` lookups in pixels (Calabretta et al., WCS paper IV), as astropy reads
them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.time import Time
from astropy.wcs import FITSFixedWarning

from sunalign.exceptions import ImageError
from sunalign.files._fits_images import base_image
from sunalign.files.fits_blocks import HDU, opened, scan

__all__ = ["OWN", "FileTable", "load_pointing", "named_tables", "read_pointing", "read_tables"]

#: EXTNAME of our own table, and of the arrays of lookups.
OWN = "SUNALIGN-POINTING"
ARRAYS = "WCSDVARR"


@dataclass(frozen=True, eq=False)
class FileTable:
    """Displacements of the columns as a file has them.

    Parameters
    ----------
    kind : {"SUNALIGN-POINTING", "WCSDVARR", "CPDIS"}
    moved : `numpy.ndarray`, shape (2, n)
        By columns, arcsec towards (+Tx, +Ty) and to be *added* to the coordinates, if the file is right about them.
    description : `str`
        What it is, in words.
    """

    kind: str
    moved: np.ndarray
    description: str

    def to_table(self) -> QTable:
        """Return it as a table with ``column``, ``shift_x`` and ``shift_y``."""
        return QTable(
            {"column": np.arange(self.moved.shape[1]), "shift_x": self.moved[0] * u.arcsec,
             "shift_y": self.moved[1] * u.arcsec},
            meta={"kind": self.kind, "description": self.description},
        )  # fmt: skip


def named_tables(header: Mapping[str, Any]) -> list[str]:
    """What lookups a header names, in words; for a map the arrays themselves are elsewhere.

    Parameters
    ----------
    header : mapping
        Of the image, whose cards ``CWDISja``, ``CPDISja`` and their records are read.
    """
    found = []
    for axis, name in ((1, "x"), (2, "y")):
        for key, record, most in (("CWDIS", "DW", "CWERR"), ("CPDIS", "DP", "CPERR")):
            if str(_value(header, f"{key}{axis}", "")).strip().lower() != "lookup":
                continue
            number = _value(header, f"{record}{axis}.EXTVER")
            where = f"{ARRAYS} {int(number)}" if number is not None else "an array"
            largest = _value(header, f"{most}{axis}")
            unit = "arcsec" if key == "CWDIS" else "pixels"
            upto = f", up to {float(largest):.3g} {unit}" if largest is not None else ""
            found.append(f"{key}{axis} along {name} ({where}{upto})")
    return found


def _value(header: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Value of a card, record-valued ones included, in a FITS header or a mapping of either case."""
    for spelt in (key, key.lower()):
        if spelt in header:
            return header[spelt]
    return default


def read_pointing(path: str | os.PathLike[str], hdu: int | str | None = None) -> QTable | None:
    """Table of the pointing of the columns that a FITS file carries; `None` where it has none.

    Parameters
    ----------
    path : path
        FITS file.
    hdu : `int` or `str`, optional
        Number or EXTNAME of the image; the first with celestial coordinates by default.

    Returns
    -------
    `~astropy.table.QTable` or `None`
        ``column``, ``shift_x`` and ``shift_y``, to be *added* to the coordinates of a column if the file is right
        about them; ``meta["kind"]`` says where it is from. Whether it is right, and about its sign, is what
        ``fit=(…, "drift")`` tests.
    """
    found = read_tables(path, hdu)
    return None if found is None else found.to_table()


def load_pointing(path: str | os.PathLike[str]) -> QTable | None:
    """Table of the pointing of the columns in what ``sunalign align --json`` wrote; `None` where it has none.

    Parameters
    ----------
    path : path
        JSON as `sunalign.files.io.save_correction` writes it with ``result.to_dict()``.
    """
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    found = (document.get("extra") or {}).get("drift")
    if not found or found["refused"]:
        return None
    columns = found["table"]
    table = QTable({"column": np.array(columns["column"], int)})
    if "time" in columns:
        table["time"] = Time(columns["time"], scale="utc")
    for name in ("shift_x", "shift_x_error", "shift_y", "shift_y_error"):
        table[name] = np.array([np.nan if v is None else v for v in columns[name]], float) * u.arcsec
    return table


def read_tables(path: str | os.PathLike[str], hdu: int | str | None = None) -> FileTable | None:
    """As `read_pointing`, as an array.

    Parameters
    ----------
    path : path-like
    hdu : `int` or `str`, optional
        Number or EXTNAME of the image; by default the first that has a sky.

    Returns
    -------
    `FileTable` or `None`
        `None` where the image has no table.
    """
    path = Path(path)
    with opened(path) as stream:
        listed = scan(stream, path)
        with warnings.catch_warnings():
            # A raster axis without extent, as of a sit-and-stare, is nothing that matters here.
            warnings.simplefilter("ignore", FITSFixedWarning)
            images = [item for item in listed if item.sky is not None]
        if not images and hdu is None:
            return None
        base = base_image(listed, hdu, path)
        own = [item for item in listed if str(item.header.get("EXTNAME", "")).strip() == OWN]
        if not own and not named_tables(base.header):
            return None
        with fits.open(stream, memmap=False) as hdus:
            if own:
                return _own(hdus[own[-1].number])
            return _coordinate_lookup(hdus, base, path) or _pixel_lookup(hdus, base, path)


def _own(hdu: fits.BinTableHDU) -> FileTable:
    values = np.array([np.asarray(hdu.data[f"shift_{axis}"], float) for axis in "xy"])
    return FileTable(OWN, values, f"the table {OWN} of the file")


def _coordinate_lookup(hdus: fits.HDUList, base: HDU, path: Path) -> FileTable | None:
    """``CWDIS`` tables: one number a column, arcseconds."""
    n, moved, versions = _columns(base), [], []
    for axis in (1, 2):
        version = _lookup_version(base, "W", axis)
        if version is None:
            moved.append(np.zeros(n))
            continue
        values, where = _array(hdus, version, path)
        if values.ndim != 1:
            raise ImageError(
                f"{ARRAYS} {version} of {path} has the shape {values.shape}; one number a column is understood. "
                f"Pass pointing='ignore' to leave it alone."
            )
        # What the published corrector subtracts.
        moved.append(-np.interp(np.arange(1, n + 1), where[0], values))
        versions.append(str(version))
    if not versions:
        return None
    words = f"{ARRAYS} {' and '.join(versions)} of the file, subtracted as by the tool published with SPICE's files"
    return FileTable(ARRAYS, np.array(moved), words)


def _pixel_lookup(hdus: fits.HDUList, base: HDU, path: Path) -> FileTable | None:
    """``CPDIS`` tables: pixels by which the place of a pixel is off, along both axes."""
    n = _columns(base)
    pixels, versions = [], []
    for axis in (1, 2):
        version = _lookup_version(base, "P", axis)
        if version is None:
            pixels.append(np.zeros(n))
            continue
        values, where = _array(hdus, version, path)
        middle = np.atleast_2d(values).mean(axis=0)
        pixels.append(np.interp(np.arange(1, n + 1), where[0], middle))
        versions.append(str(version))
    if not versions or base.sky is None:
        return None
    linear = base.sky.rows[:, :2] * 3600
    return FileTable("CPDIS", linear @ np.array(pixels), f"the CPDIS lookups {ARRAYS} {' and '.join(versions)}")


def _lookup_version(base: HDU, letter: str, axis: int) -> int | None:
    """EXTVER of the array of an axis: ``CWDIS`` for coordinates (letter W), ``CPDIS`` for pixels (P)."""
    named = str(base.header.get(f"C{letter}DIS{axis}", "")).strip().lower() == "lookup"
    card = f"D{letter}{axis}.EXTVER"
    return int(base.header[card]) if named and card in base.header else None


def _array(hdus: fits.HDUList, version: int, path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Array of a lookup without axes of one element, and the image pixels, 1-based, along each of its FITS axes."""
    try:
        hdu = hdus[ARRAYS, version]
    except KeyError:
        raise ImageError(
            f"The header of {path} names the table {ARRAYS} {version}, which is not in the file; fetch it again, or "
            f"pass pointing='ignore'."
        ) from None
    if hdu.data is None:
        raise ImageError(f"The table {ARRAYS} {version} of {path} is empty; pass pointing='ignore' to do without.")
    header, shape = hdu.header, hdu.data.shape
    long = [k for k, size in enumerate(reversed(shape), start=1) if size > 1] or [1]
    where = [
        float(header.get(f"CRVAL{k}", 1.0))
        + (np.arange(1, shape[-k] + 1) - float(header.get(f"CRPIX{k}", 1.0))) * float(header.get(f"CDELT{k}", 1.0))
        for k in long
    ]
    values = np.asarray(hdu.data, float).reshape([shape[-k] for k in reversed(long)])
    return values, where


def _columns(base: HDU) -> int:
    return int(base.shape[-1]) if base.shape else 0
