"""Corrector of FITS files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.table import QTable

from sunalign.abc import Corrector
from sunalign.correction import Correction
from sunalign.correctors._wcs import check_tolerance
from sunalign.exceptions import CorrectionError
from sunalign.files.io import apply_to_file
from sunalign.files.output import aligned_path
from sunalign.files.pointing_write import check_lookup

__all__ = ["FITSCorrector"]


@dataclass(frozen=True, kw_only=True)
class FITSCorrector(Corrector):
    """Write a corrected copy of a FITS file; see `sunalign.files.io.apply_to_file`.

    Every HDU is copied byte by byte; only the WCS keywords of the images that share the pointing change. The file can
    be restored by `sunalign.files.io.undo_file`.

    Parameters
    ----------
    hdus : ``"same-pointing"``, ``"all"`` or tuple of `int` and `str`
        Which images are corrected.
    hdu : `int` or `str`, optional
        Number or EXTNAME of the image the correction was found on; the first with celestial coordinates by default.
    output : path, optional
        File to write; ``<name>_aligned.fits`` beside the input by default.
    overwrite : `bool`
        Whether an existing output, or the input itself where it is the output, may be replaced.
    tolerance : `float`
        Largest error of the written coordinates, in pixels; more is refused.
    lookup : ``"wcsdvarr"`` or ``"cpdis"``, optional
        Write a pointing of the columns that was found as lookup tables too, besides the table that is always written.
    """

    hdus: str | tuple[int | str, ...] = "same-pointing"
    hdu: int | str | None = None
    output: str | os.PathLike[str] | None = None
    overwrite: bool = False
    tolerance: float = 0.1
    lookup: str | None = None

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)
        check_lookup(self.lookup)
        if isinstance(self.hdus, list):
            object.__setattr__(self, "hdus", tuple(self.hdus))

    @classmethod
    def accepts(cls, target: Any) -> bool:
        return isinstance(target, (str, os.PathLike))

    def apply(
        self,
        target: Any,
        correction: Correction,
        *,
        provenance: str | None = None,
        pointing: QTable | None = None,
    ) -> Path:
        """Write a corrected copy of a FITS file; see `sunalign.abc.Corrector.apply`.

        Parameters
        ----------
        target : path-like
            The file, which is kept unless ``output`` names it.
        correction : `~sunalign.Correction`
        provenance : `str`, optional
            Lines for HISTORY that say how the correction was found.
        pointing : `~astropy.table.QTable`, optional
            What is to be added besides to the coordinates of every column: ``shift_x``, ``shift_y``.

        Returns
        -------
        `~pathlib.Path`
            Of the copy.
        """
        if not isinstance(target, (str, os.PathLike)):
            raise CorrectionError(
                f"The 'fits' corrector takes the path of a FITS file; got {type(target).__name__}. "
                f"A Map, (data, header) and (data, wcs) are for 'wcs', an NDCube for 'ndcube'."
            )
        return apply_to_file(
            target,
            correction,
            aligned_path(target) if self.output is None else self.output,
            overwrite=self.overwrite,
            provenance=provenance,
            hdus=self.hdus,
            hdu=self.hdu,
            tolerance=self.tolerance,
            pointing=pointing,
            lookup=self.lookup if pointing is not None else None,
        )
