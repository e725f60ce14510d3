"""Rasters and other cubes in FITS files: one image of each, by the choices that `spectral_image` has."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning
from astropy.wcs import WCS

from ndcube import NDCube

from sunalign.exceptions import ImageError
from sunalign.images._image import Image
from sunalign.images.cubes import spectral_image
from sunalign.wcs.fits_plane import first_on_sky
from sunalign.wcs.header import plain_values, sky_axes

__all__ = ["CubeFile"]

#: IRIS writes this and less where it has no value.
_IRIS_NOTHING = -200.0


@dataclass(frozen=True, eq=False)
class CubeFile:
    """One image of a cube in a FITS file, read anew each time it is asked for.

    Parameters
    ----------
    path : `~pathlib.Path`
    choices : mapping
        Keywords of `sunalign.images.cubes.spectral_image`.
    hdu : `int` or `str`, optional
        Number or EXTNAME of the window; by default the first one on the sky that has what is chosen.
    """

    path: Path
    choices: Mapping[str, Any] = field(default_factory=dict)
    hdu: int | str | None = None

    def image(self) -> Image:
        """The image, with the cube as its source."""
        return self._found()[0]

    def settled(self) -> CubeFile:
        """The same with the number of its window, so that no other is looked at again."""
        return replace(self, hdu=self._found()[1])

    def _found(self) -> tuple[Image, int]:
        refused: ImageError | None = None
        with _opened(self.path) as hdus:
            for number in self._windows(hdus):
                try:
                    image = spectral_image(_cube(hdus[number], hdus[0].header), **self.choices)
                except ImageError as error:
                    refused = refused or error
                    continue
                return replace(image, name=self.path.name), number
        raise ImageError(f"{self.path.name}: {refused}") from refused

    def read(self, y: slice, x: slice) -> np.ndarray:
        """Pixels of rows ``y`` and columns ``x`` of the image."""
        return self.image().data[y, x]

    def close(self) -> None:
        """Nothing is held open."""

    def _windows(self, hdus: Sequence[Any]) -> list[int]:
        """Numbers of the windows that may be meant."""
        if self.hdu is not None:
            named = [n for n, hdu in enumerate(hdus) if self.hdu in (n, hdu.name) and getattr(hdu, "is_image", False)]
            if named:
                return named
            raise ImageError(f"{self.path} has no window {self.hdu!r}; give the number or the EXTNAME of an image.")
        first = first_on_sky(hdus, self.path)
        numbers = [n for n, hdu in enumerate(hdus) if hdu is first]
        if {"line", "wavelength"} & {*self.choices}:
            numbers += [n for n, hdu in enumerate(hdus) if n not in numbers and _is_window(hdu)]
        return numbers


def _is_window(hdu: Any) -> bool:
    image = getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) > 2
    return bool(image) and sky_axes(plain_values(hdu.header)) is not None


def _cube(hdu: Any, primary: fits.Header) -> NDCube:
    """Cube of a window, with the cards that all windows have in common."""
    meta = {key: value for header in (primary, hdu.header) for key, value in header.items() if key not in _STRUCTURE}
    data = np.array(hdu.data, float)
    if str(meta.get("TELESCOP", "")).strip() == "IRIS":
        data[data <= _IRIS_NOTHING] = np.nan
    with warnings.catch_warnings():
        # Old dates and degenerate axes, which are looked after elsewhere.
        warnings.simplefilter("ignore", AstropyWarning)
        header = hdu.header.copy()
        header.update({key: meta[key] for key in _OBSERVER if key in meta})
        wcs = WCS(header)
    return NDCube(data, wcs=wcs, meta=meta)


#: From where it was seen, which may be told once for all windows.
_OBSERVER = ("DSUN_OBS", "HGLN_OBS", "HGLT_OBS", "CRLN_OBS", "CRLT_OBS", "RSUN_REF", "DATE-OBS", "DATE-AVG")
_STRUCTURE = {"SIMPLE", "XTENSION", "BITPIX", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "COMMENT", "HISTORY", ""}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="File may have been truncated", category=AstropyUserWarning)
        with fits.open(path) as hdus:
            yield hdus
