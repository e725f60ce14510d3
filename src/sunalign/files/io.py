"""Corrections in files: FITS headers that can be restored, and JSON.

A FITS file is handled as blocks of 2880 bytes: what is not a WCS keyword of the image is copied as it is, compressed
images and tables included. The cards that change are kept in a record, ``SUNALN1`` for the first correction and so on,
from which `undo_file` restores the headers byte by byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import QTable

from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError, warn_user
from sunalign.files._fits_images import base_image, changed_cards, chosen_images
from sunalign.files._fits_record import RECORD, last_step, with_changes, without_changes
from sunalign.files.fits_blocks import HDU, opened, scan, write
from sunalign.files.output import atomic_write, check_output
from sunalign.files.pointing_write import STEP, column_writer
from sunalign.wcs.metadata import history_entry

__all__ = [
    "apply_to_file",
    "is_corrected",
    "load_correction",
    "save_correction",
    "undo_file",
]


def save_correction(
    path: str | os.PathLike[str],
    correction: Correction,
    extra: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a correction as JSON.

    Parameters
    ----------
    path : path
        The file to write; it is whole or not there.
    correction : `~sunalign.Correction`
        What to write.
    extra : mapping, optional
        Anything worth keeping with it; Quantities, arrays, times and paths are turned into plain values.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Returns
    -------
    `pathlib.Path`
    """
    document = {
        "format": "sunalign correction",
        "version": 1,
        "correction": plain_values_of(correction.to_dict()),
        "extra": plain_values_of(dict(extra or {})),
    }
    return write_json(path, document, overwrite)


def write_json(path: str | os.PathLike[str], document: Any, overwrite: bool) -> Path:
    """Write plain values as indented JSON; the file is whole or not there.

    Parameters
    ----------
    path : path-like
    document : object
        Of what JSON has; `plain_values_of` makes it so. NaN and infinity are refused.
    overwrite : `bool`
        Whether a file that exists is replaced.
    """
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return Path(path)


def json_path(path: str | os.PathLike[str]) -> Path:
    """Where the JSON of a report goes: ``report.html`` has ``report.json`` beside it.

    Parameters
    ----------
    path : path-like
        Of the page.
    """
    return Path(path).with_suffix(".json")


def load_correction(path: str | os.PathLike[str]) -> Correction:
    """Read what `save_correction` wrote.

    Parameters
    ----------
    path : path-like
        JSON file.

    Returns
    -------
    `~sunalign.Correction`
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path} to read a correction from.")
    if path.is_dir():
        raise CorrectionError(f"{path} is a directory; give the JSON file that save_correction() wrote.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are both
        raise CorrectionError(f"{path} is not JSON ({error}); a correction is saved by save_correction().") from error
    if not isinstance(document, dict) or document.get("format") != "sunalign correction":
        raise CorrectionError(f"{path} holds no correction; one is saved by save_correction().")
    if document.get("version") != 1:
        raise CorrectionError(
            f"{path} was written by a newer version of sunalign (format {document.get('version')}); upgrade to read it."
        )
    values = dict(document["correction"])
    values["errors"] = {k: np.nan if v is None else v for k, v in values.get("errors", {}).items()}
    return Correction.from_dict(values)


def plain_values_of(value: Any) -> Any:
    """Value as JSON has it: not finite is null.

    Parameters
    ----------
    value : object
        Numbers, arrays, Quantities, and mappings and sequences of such; of anything else its `str` is taken.
    """
    if isinstance(value, u.Quantity):
        return {"value": plain_values_of(value.value), "unit": str(value.unit)}
    if isinstance(value, Mapping):
        return {str(key): plain_values_of(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain_values_of(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_values_of(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


def apply_to_file(
    path: str | os.PathLike[str],
    correction: Correction,
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    provenance: str | Iterable[str] | None = None,
    hdus: str | Sequence[int | str] = "same-pointing",
    hdu: int | str | None = None,
    tolerance: float = 0.1,
    pointing: QTable | None = None,
    lookup: str | None = None,
) -> Path:
    """Copy a FITS file with a correction written into the headers of its images.

    Data, tables and all other cards are copied byte by byte; DATE and CHECKSUM of the headers that change are renewed
    where they are present. The old cards are kept in the header, and `undo_file` restores them.

    Parameters
    ----------
    path : path
        File to correct; ``.gz`` is understood.
    correction : `~sunalign.Correction`
        What to write.
    output : path
        File to write. It may be ``path`` itself if ``overwrite`` is True.
    overwrite : `bool`
        Whether an existing output may be replaced.
    provenance : `str` or iterable of `str`, optional
        Further lines for HISTORY: plugins and their options, score, reference.
    hdus : ``"same-pointing"``, ``"all"`` or sequence of `int` and `str`
        Which images are corrected: those whose pixels lie where those of ``hdu`` do, to 0.1 pixel; every image with
        celestial coordinates; or those named by number or EXTNAME.
    hdu : `int` or `str`, optional
        Number or EXTNAME of the image the correction was found on; the first with celestial coordinates by default.
    tolerance : `float`
        Largest error of the written coordinates, in pixels.
    pointing : `~astropy.table.QTable`, optional
        What is to be added besides to the coordinates of every column, as in ``result.pointing``. It is appended to the
        file as a binary table, ``SUNALIGN-POINTING``.
    lookup : ``"wcsdvarr"`` or ``"cpdis"``, optional
        Write ``pointing`` as lookup tables too: arcseconds to be subtracted, named by CWDIS, CWERR and DW cards as in
        the files of SPICE; or pixels, named by CPDIS and DP cards, which `astropy.wcs.WCS` applies when it is given
        the open file (``WCS(header, fobj, naxis=2)``).

    Returns
    -------
    `pathlib.Path`
        Of the output.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        No image has celestial coordinates, or they cannot express the correction.
    ~sunalign.exceptions.ImageError
        It is no FITS file, or a truncated one.
    FileExistsError
        The output exists and ``overwrite`` is False.

    Warns
    -----
    ~sunalign.exceptions.SunalignUserWarning
        Images with another pointing were left as they are.
    """
    path, output = Path(path), Path(output)
    check_output(Path(os.path.realpath(output)), overwrite)
    with opened(path) as stream:
        found = scan(stream, path)
        base = base_image(found, hdu, path)
        chosen, left = chosen_images(found, base, hdus, path)
        step = 1 + max((last_step(item) for item in found), default=0)
        lines = history_entry(correction, provenance).splitlines()
        lines.append(f"sunalign keeps the cards as they were in {RECORD}{step}")
        changes = {item.number: changed_cards(item, base, correction, tolerance) for item in chosen}
        columns = column_writer(found, base, changes.get(base.number, {}), pointing, lookup, step)
        new = list(found)
        for item in chosen:
            cards = columns.cards(item)
            new[item.number] = with_changes(
                item,
                changes[item.number],
                [*lines, *columns.lines],
                step,
                inserted=cards.inserted,
                swapped=cards.swapped,
            )
        with atomic_write(output, overwrite) as temporary:
            write(stream, found, new, path, temporary, columns.appended)
    _tell_of_the_rest(found, base, left, path)
    return output


def _tell_of_the_rest(found: Sequence[HDU], base: HDU, left: Sequence[HDU], path: Path) -> None:
    """Warn of images that were not corrected."""
    if left:
        warn_user(
            f"{path.name}: HDU {_listed(left)} point{'' if len(left) > 1 else 's'} elsewhere than HDU {base.label} and "
            f"{'were' if len(left) > 1 else 'was'} left as {'they are' if len(left) > 1 else 'it is'}; pass hdus='all' "
            f"to correct {'them' if len(left) > 1 else 'it'} too.",
            stacklevel=3,
        )
    for item in found:
        if item.fault:
            warn_user(f"{path.name}: {item.fault} It was left as it is.", stacklevel=3)


def _listed(items: Sequence[HDU], most: int = 6) -> str:
    labels = [item.label for item in items[:most]]
    return ", ".join(labels) + (f" and {len(items) - most} more" if len(items) > most else "")


def is_corrected(header: Mapping[str, Any]) -> bool:
    """Whether a header has the record of a correction, as `apply_to_file` leaves it.

    Parameters
    ----------
    header : mapping
        Of any one HDU, upper-case keys.
    """
    return f"{RECORD}1" in header


def undo_file(
    path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, *, overwrite: bool = False
) -> Path:
    """Take back the last correction that `apply_to_file` wrote into a file: the headers are restored byte by byte.

    Parameters
    ----------
    path : path
        A corrected file. One that was corrected twice is undone step by step.
    output : path, optional
        File to write; ``path`` itself by default, which ``overwrite`` must allow.
    overwrite : `bool`
        Whether an existing output may be replaced.

    Returns
    -------
    `pathlib.Path`
        Of the output.
    """
    path = Path(path)
    output = path if output is None else Path(output)
    with opened(path) as stream:
        found = scan(stream, path)
        step = max((last_step(item) for item in found), default=0)
        if step == 0:
            raise CorrectionError(
                f"{path} has no correction to undo: none of its headers has a record ({RECORD}1) as apply_to_file() "
                f"writes it."
            )
        new = [
            # What a correction brought along goes with it.
            None
            if item.header.get(STEP) == step
            else without_changes(item, step, path)
            if last_step(item) == step
            else item
            for item in found
        ]
        with atomic_write(output, overwrite) as temporary:
            write(stream, found, new, path, temporary)
    return output
