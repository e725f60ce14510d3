"""The pointing of the columns as FITS: a binary table, and on request the lookups that readers apply.

Nothing of a file changes but cards of the images that are corrected; what is new is appended after its last HDU.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable

from sunalign.exceptions import CorrectionError
from sunalign.files.fits_blocks import HDU
from sunalign.files.pointing_tables import ARRAYS, OWN
from sunalign.geometry.coordinates import angles, direction
from sunalign.wcs.header import plain_values, sky_axes
from sunalign.wcs.sky_part import SkyPart

__all__ = ["LOOKUPS", "STEP", "CardChanges", "ColumnWriter", "check_lookup", "column_writer", "pixel_lookup"]

#: Card that tells at which correction an HDU was appended.
STEP = "SUNALNST"

#: What can be written besides the table.
LOOKUPS = ("wcsdvarr", "cpdis")

#: EXTNAME of a two-dimensional description of coordinates that have more axes.
FLAT = "SUNALIGN-WCS"

#: What else coordinates need to be understood.
_CONTEXT = ("DATE-OBS", "DATE-AVG", "DATE-BEG", "DATE-END", "RSUN_REF", "DSUN_OBS", "HGLN_OBS", "HGLT_OBS", "CRLN_OBS",
            "CRLT_OBS")  # fmt: skip

_DIGITS = 12


@dataclass(frozen=True, eq=False)
class CardChanges:
    """Cards, as text of 80 characters, that are put into a header, and those that they replace.

    Parameters
    ----------
    inserted : `list` of `str`
        Cards that are new.
    swapped : `list` of pairs of `str`
        Cards as they were, and what stands in their place.
    """

    inserted: list[str] = field(default_factory=list)
    swapped: list[tuple[str, str]] = field(default_factory=list)


def check_lookup(lookup: str | None) -> None:
    """Refuse what is no way to write a lookup.

    Parameters
    ----------
    lookup : `str` or `None`
        `None` for no lookup.
    """
    if lookup is not None and lookup not in LOOKUPS:
        raise CorrectionError(
            f"'lookup' is 'wcsdvarr', as in SPICE's files, or 'cpdis', which astropy reads; got {lookup!r}."
        )


@dataclass(frozen=True, eq=False)
class ColumnWriter:
    """What a pointing of the columns adds to a file.

    Parameters
    ----------
    appended : `bytes`
        HDUs to put after the last one.
    lines : sequence of `str`
        For HISTORY.
    table : `~astropy.table.QTable` or `None`
    lookup : {"wcsdvarr", "cpdis"} or `None`
    pixels : `numpy.ndarray` or `None`, shape (2, 2, nx)
        See `pixel_lookup`.
    version : `int`
        EXTVER of the array along x; that along y has the next.
    apart : `bool`
        Whether the lookups are named by an HDU of their own.
    """

    appended: bytes = b""
    lines: Sequence[str] = ()
    table: QTable | None = None
    lookup: str | None = None
    pixels: np.ndarray | None = None
    version: int = 0
    apart: bool = False

    def cards(self, item: HDU) -> CardChanges:
        """Cards by which an image names its lookups.

        Parameters
        ----------
        item : `~sunalign.files.fits_blocks.HDU`
            The image; it has as many columns as the table has rows.
        """
        changes = CardChanges()
        if self.table is None or self.lookup is None or self.apart:
            return changes
        if not item.shape or item.shape[-1] != len(self.table):
            raise CorrectionError(
                f"The pointing has {len(self.table)} columns, but HDU {item.label} has "
                f"{item.shape[-1] if item.shape else 0}, so a lookup table cannot serve both; name the images of this "
                f"raster by 'hdus', or leave 'lookup' out."
            )
        for axis in (1, 2):
            for text in _cards(axis, self.table, self.pixels, self.lookup, self.version + axis - 1):
                old = next((card for card in item.cards if _field(card) == _field(text)), None)
                if old is None:
                    changes.inserted.append(text)
                elif old != text:
                    changes.swapped.append((old, text))
        return changes


def column_writer(
    found: Sequence[HDU],
    base: HDU,
    changes: Mapping[str, float],
    table: QTable | None,
    lookup: str | None,
    step: int,
) -> ColumnWriter:
    """Prepare to write a pointing of the columns.

    Parameters
    ----------
    found : sequence of `~sunalign.files.fits_blocks.HDU`
        Of the file.
    base : `~sunalign.files.fits_blocks.HDU`
        The image that the table is about.
    changes : mapping
        New values of its keywords: its coordinates once they are corrected.
    table : `~astropy.table.QTable` or `None`
        What is to be added to these, column by column, as in ``result.pointing``.
    lookup : {"wcsdvarr", "cpdis"} or `None`
    step : `int`
        Number of the correction.
    """
    check_lookup(lookup)
    if table is None:
        if lookup is not None:
            raise CorrectionError("There is no pointing to write as a lookup table; give 'pointing' too.")
        return ColumnWriter()
    n = base.shape[-1] if base.shape else 0
    rows = base.shape[-2] if len(base.shape) > 1 else 0
    if len(table) == rows != n and _latitude_first(base):
        # Its raster steps follow each other along the rows. The table says it by their number; the lookups cannot.
        _refuse_lookup(base.label, lookup)
        n = rows
    if len(table) != n:
        raise CorrectionError(
            f"The pointing has {len(table)} rows, but HDU {base.label} has {n} columns; give the table of this raster."
        )
    pixels, apart = None, False
    hdus: list[Any] = [_own(table, step)]
    version = 1 + max((int(item.header.get("EXTVER", 1)) for item in found if _is_array(item)), default=0)
    if lookup == "wcsdvarr":
        hdus += [_coordinate_array(-values, axis, version + axis) for axis, values in enumerate(_moved(table))]
    if lookup == "cpdis":
        part = SkyPart.from_header({**plain_values(base.header), **changes})
        pixels = pixel_lookup(part, base.shape, table)
        hdus += [_pixel_array(values, base, axis, version + axis) for axis, values in enumerate(pixels)]
        apart = part.rows.shape[1] > 2
        if apart:
            cards = [card for axis in (1, 2) for card in _cards(axis, table, pixels, lookup, version + axis - 1)]
            hdus.append(_flat_description(part, base, cards, step))
    for hdu in hdus:
        hdu.header[STEP] = (step, "correction by sunalign with which this HDU came")
    rms = np.sqrt(np.mean(_moved(table) ** 2, axis=1))
    lines = [f"sunalign pointing of the columns in {OWN}: rms {rms[0]:.3f} and {rms[1]:.3f} arcsec along Tx and Ty"]
    if lookup is not None:
        where = f", named in {FLAT}" if apart else ""
        lines.append(f"sunalign the same as {lookup.upper()} lookups in {ARRAYS} {version} and {version + 1}{where}")
    return ColumnWriter(b"".join(map(_bytes, hdus)), lines, table, lookup, pixels, version, apart)


def _latitude_first(base: HDU) -> bool:
    axes = sky_axes(plain_values(base.header))
    return axes is not None and axes[1] < axes[0]


def _refuse_lookup(name: str, lookup: str | None) -> None:
    """Refuse lookups for an image whose raster steps are rows."""
    if lookup is not None:
        raise CorrectionError(
            f"HDU {name} has latitude along its first axis, and so the raster steps along its second; lookups are "
            f"written along the first axis alone. Leave 'lookup' out, and the table alone is written."
        )


def _moved(table: QTable) -> np.ndarray:
    return np.array([u.Quantity(table[f"shift_{axis}"]).to_value(u.arcsec) for axis in "xy"])


def _is_array(item: HDU) -> bool:
    return str(item.header.get("EXTNAME", "")).strip() == ARRAYS


def _own(table: QTable, step: int) -> fits.BinTableHDU:
    plain = QTable({"column": np.asarray(table["column"], np.int32)})
    if "time" in table.colnames:
        plain["time"] = np.array(table["time"].utc.isot, dtype="S23")
    for axis in "xy":
        for name in (f"shift_{axis}", f"shift_{axis}_error"):
            if name in table.colnames:
                plain[name] = u.Quantity(table[name]).to(u.arcsec)
    hdu = fits.BinTableHDU(plain, name=OWN, ver=step)
    hdu.header["COMMENT"] = "To be added to the corrected coordinates (+Tx, +Ty) of each pixel column, 0-based."
    return hdu


def _coordinate_array(values: np.ndarray, axis: int, version: int) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.asarray(values, np.float64), name=ARRAYS, ver=version)
    hdu.header["BUNIT"] = "arcsec"
    hdu.header["CRPIX1"], hdu.header["CRVAL1"], hdu.header["CDELT1"] = 1.0, 1.0, 1.0
    hdu.header["COMMENT"] = f"To be subtracted from Solar {'XY'[axis]}, as the tables of SPICE are."
    return hdu


def _pixel_array(values: np.ndarray, base: HDU, axis: int, version: int) -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.asarray(values, np.float32), name=ARRAYS, ver=version)
    rows = base.shape[-2]
    steps = (1.0, float(rows - 1))
    for k in (1, 2):
        hdu.header[f"CRPIX{k}"], hdu.header[f"CRVAL{k}"], hdu.header[f"CDELT{k}"] = 1.0, 1.0, steps[k - 1]
    hdu.header["COMMENT"] = f"Pixels to be added to pixel coordinate {axis + 1}, as WCS paper IV has it."
    return hdu


def _flat_description(part: SkyPart, base: HDU, cards: Sequence[str], step: int) -> fits.ImageHDU:
    """HDU without data that describes the first two pixel axes of an image, and names its lookups.

    In a header with more than two axes wcslib stumbles over lookups, and astropy cannot part a time axis that is
    coupled to the raster's from it.
    """
    hdu = fits.ImageHDU(name=FLAT, ver=step)
    header = hdu.header
    header["WCSAXES"] = 2
    for k in range(2):
        header[f"CTYPE{k + 1}"], header[f"CUNIT{k + 1}"] = part.ctype[k], "deg"
        header[f"CRPIX{k + 1}"], header[f"CRVAL{k + 1}"] = float(part.crpix[k]) + 1, float(part.crval[k])
        for j in range(2):
            header[f"CD{k + 1}_{j + 1}"] = float(part.rows[k, j])
    for axis, m, value in part.pv:
        header[f"PV{axis + 1}_{m}"] = value
    header["LONPOLE"], header["LATPOLE"] = part.pole, part.latpole
    for key in _CONTEXT:
        if key in base.header:
            header[key] = base.header[key]
    for text in cards:
        header.append(fits.Card.fromstring(text), end=True)
    header["COMMENT"] = f"Coordinates of HDU {base.label}, its first two pixel axes: WCS(header, fobj)."
    return hdu


def _bytes(hdu: fits.hdu.base.ExtensionHDU) -> bytes:
    stream = io.BytesIO()
    primary = fits.PrimaryHDU()
    fits.HDUList([primary, hdu]).writeto(stream, checksum=True)
    return stream.getvalue()[2880:]


def pixel_lookup(part: SkyPart, shape: Sequence[int], table: QTable) -> np.ndarray:
    """Displacement in pixels, shape (2, 2, nx), at the first and last row of an image, of one in arcsec.

    Exact there: it leads to the pixel whose coordinates are those of the pixel plus the displacement. In between it is
    linear in the row.

    Parameters
    ----------
    part : `~sunalign.wcs.sky_part.SkyPart`
        Corrected coordinates of the image.
    shape : sequence of `int`
        Array shape; the last two axes are the slit and the raster.
    table : `~astropy.table.QTable`
    """
    used = np.flatnonzero(part.rows.any(axis=0))
    if not set(used) <= {0, 1} or len(shape) < 2 or min(shape[-2:]) < 2:
        raise CorrectionError(
            "A CPDIS lookup acts on the first two pixel axes, and this image has its coordinates along others; "
            "write the table alone, or lookup='wcsdvarr'."
        )
    ny, nx = shape[-2:]
    moved = np.radians(_moved(table) / 3600)
    columns = np.arange(nx, dtype=float)
    linear = np.linalg.inv(part.rows[:, :2])
    out = np.empty((2, 2, nx))
    for k, row in enumerate((0.0, ny - 1.0)):
        pixels = np.zeros((part.rows.shape[1], nx))
        pixels[0], pixels[1] = columns, row
        pixels[2:] = part.crpix[2:, None]
        plane = part.to_plane(pixels)
        out[:, k] = linear @ (part.from_sky(_shifted(part.to_sky(plane), moved)) - plane)
    return out


def _shifted(directions: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Directions with angles (Tx, Ty) added, radians."""
    tx, ty = angles(directions)
    return direction(tx + moved[0], ty + moved[1])


def _cards(axis: int, table: QTable, pixels: np.ndarray | None, lookup: str, version: int) -> list[str]:
    if lookup == "wcsdvarr":
        largest = float(np.abs(_moved(table)[axis - 1]).max())
        values: list[tuple[str, float | str, str]] = [
            (f"CWERR{axis}", largest, f"[arcsec] Max absolute distortion, Solar {'XY'[axis - 1]}"),
            (f"CWDIS{axis}", "Lookup", "Type of WCS distortion correction"),
            # SPICE's own files say AXIS.2 for the table of Solar Y; readers of them expect it.
            *((f"DW{axis}", text, comment) for text, comment in (
                (f"EXTVER: {version}", "Extension version"),
                ("NAXES: 1", "Axes in the distorion array"),
                (f"AXIS.{axis}: 1", f"Correction of Solar {'XY'[axis - 1]}"),
                ("ASSOCIATE: 1", "Association stage is pixel coordinates"),
                ("APPLY: 6", "Application stage is world coordinates"),
            )),
        ]  # fmt: skip
    else:
        assert pixels is not None
        values = [
            (f"CPERR{axis}", float(np.abs(pixels[axis - 1]).max()), "[pixel] Max absolute distortion"),
            (f"CPDIS{axis}", "LOOKUP", "Prior distortion by a lookup table"),
            *((f"DP{axis}", text, "") for text in (
                f"EXTVER: {version}", "NAXES: 2", "AXIS.1: 1", "AXIS.2: 2")),
        ]  # fmt: skip
    return [_card(*entry) for entry in values]


def _card(key: str, value: float | str, comment: str) -> str:
    image = f"{key:8}= '{value}'" if isinstance(value, str) else f"{key:8}= {round(value, _DIGITS)!r:>20}".upper()
    return (f"{image:30} / {comment}" if comment else image)[:80].ljust(80)


def _field(card: str) -> tuple[str, str]:
    key, value = card[:8].rstrip(), card[10:].lstrip()
    record = value.startswith("'") and ": " in value and key[:2] in ("DW", "DP")
    name = value[1:].partition(":")[0].strip() if record else ""
    # DW2 has AXIS.1 in files that follow the paper, and AXIS.2 in SPICE's.
    return key, "AXIS" if name.startswith("AXIS") and key.startswith("DW") else name
