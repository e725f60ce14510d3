"""Which image of a FITS file is on the sky, and which of its array axes are longitude and latitude.

Both are read from the keywords of the WCS. The lengths of the axes say nothing: a raster of a single slit position is
as long in wavelength as another is in longitude.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astropy.io import fits

from sunalign.exceptions import ImageError
from sunalign.wcs.header import plain_values, sky_axes

__all__ = ["IsCubeError", "Plane", "first_on_sky", "no_file", "one_position", "plane_of"]

#: Cards that number the axes of an image.
_AXIS = re.compile(r"(NAXIS|CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA|CNAME|CWDIS|CPDIS|CRDER|CSYER)(\d)$")
_PAIR = re.compile(r"(PC|CD)(\d)_(\d)$")
_PARAMETER = re.compile(r"(PV|PS)(\d)(_\d+)$")


class IsCubeError(ImageError):
    """An array has another axis than longitude and latitude that is longer than one pixel."""


@dataclass(frozen=True)
class Plane:
    """Longitude and latitude of an array of any number of axes, the others of length 1.

    Parameters
    ----------
    axes : `tuple` of `int`
        Axes of the array that are the rows and the columns of the image, ``(y, x)``.
    shape : `tuple` of `int`
        ``(ny, nx)``.
    header : `~astropy.io.fits.Header`
        That of the array, with longitude and latitude for its first two axes if the array has more.
    """

    axes: tuple[int, int]
    shape: tuple[int, int]
    header: fits.Header

    def index(self, n: int, y: slice, x: slice) -> tuple[slice, ...]:
        """Index of a part of the image into the array; no axis is lost.

        Parameters
        ----------
        n : `int`
            Axes of the array.
        y, x : slice
            Rows and columns of the image.
        """
        return tuple({self.axes[0]: y, self.axes[1]: x}.get(axis, slice(0, 1)) for axis in range(n))

    def image(self, part: np.ndarray) -> np.ndarray:
        """Image in the array, or in a part of it as `index` cuts it out: rows first, and no other axes.

        Parameters
        ----------
        part : `numpy.ndarray`
            With all axes of the array; but for the two of the image they have one element.
        """
        image = np.moveaxis(part, self.axes, (-2, -1))
        return image.reshape(image.shape[-2:])


def first_on_sky(hdus: Sequence[Any], path: Path) -> Any:
    """First HDU that is an image with a longitude and a latitude axis.

    Parameters
    ----------
    hdus : sequence of HDU
        As `astropy.io.fits.open` gives them.
    path : `~pathlib.Path`
        For the messages.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        There is none.
    """
    for hdu in hdus:
        if _is_image(hdu) and _on_sky(hdu):
            return hdu
    images, placed = ([n for n, hdu in enumerate(hdus) if is_one(hdu)] for is_one in (_is_image, _on_sky))
    if placed:
        raise ImageError(_apart(hdus, path, images, placed[0]))
    if not images:
        raise ImageError(
            f"{path} holds no image: none of its {len(hdus)} HDUs has two axes; choose another file, or fetch it again."
        )
    listed = "; ".join(f"HDU {n}: CTYPE {_ctypes(hdus[n].header)}" for n in images[:4])
    raise ImageError(
        f"{path} has no celestial axes in any of its images ({listed}{'; ...' if len(images) > 4 else ''}); one "
        f"longitude and one latitude axis such as HPLN-TAN and HPLT-TAN are needed."
    )


def _is_image(hdu: Any) -> bool:
    """Whether an HDU, compressed or not, has data of two axes or more."""
    n = int(hdu.header.get("NAXIS", 0)) if getattr(hdu, "is_image", False) else 0
    return n >= 2 and all(hdu.header.get(f"NAXIS{i}", 0) for i in range(1, n + 1))


def _on_sky(hdu: Any) -> bool:
    return sky_axes(plain_values(hdu.header)) is not None


def _apart(hdus: Sequence[Any], path: Path, images: Sequence[int], placed: int) -> str:
    """Say that what is on the sky is no image: what each HDU has, and the next step."""
    told = range(len(hdus)) if len(hdus) <= 4 else sorted({*images[:3], placed})
    listed = "; ".join(f"HDU {n} {_content(hdus[n])}" for n in told)
    if images:
        step = (
            f"If they belong together, write the image of HDU {images[0]} and the header of HDU {placed} into one HDU, "
            f"or give them as (data, header)."
        )
    else:
        step = "Its pixels are missing; choose another file, or fetch it again."
    return f"{path} has no image with celestial axes: {listed}. {step}"


def _content(hdu: Any) -> str:
    """What one HDU has, after its number."""
    axes = f"CTYPE {_ctypes(hdu.header)}"
    if _is_image(hdu):
        lengths = " x ".join(str(hdu.header[f"NAXIS{i}"]) for i in range(1, hdu.header["NAXIS"] + 1))
        return f"has {lengths} pixels and {axes}"
    if getattr(hdu, "is_image", False):
        return f"has {axes} but no image" if _on_sky(hdu) else "has no image"
    return f"is a table with {axes}" if _on_sky(hdu) else "is a table"


def _ctypes(header: Mapping[str, Any]) -> str:
    n = max(int(header.get("NAXIS", 0)), int(header.get("WCSAXES", 0) or 0), 2 if "CTYPE2" in header else 0)
    return ", ".join(str(header.get(f"CTYPE{i}", "")).strip() or "none" for i in range(1, n + 1))


def plane_of(shape: Sequence[int], header: fits.Header, path: Path) -> Plane:
    """Find the image in an array of any number of axes.

    Parameters
    ----------
    shape : sequence of `int`
        Of the array.
    header : `~astropy.io.fits.Header`
        With celestial axes.
    path : `~pathlib.Path`
        For the messages.

    Raises
    ------
    IsCubeError
        Another axis is longer than one pixel.
    ~sunalign.exceptions.ImageError
        A celestial one of more than two axes is not.
    """
    n = len(shape)
    if n == 2:
        return Plane((0, 1), (shape[0], shape[1]), header)
    axes = sky_axes(plain_values(header))
    assert axes is not None
    lengths = {i: shape[n - i] if i <= n else 1 for i in range(1, max(n, *axes) + 1)}
    lon, lat = axes
    kinds = ", ".join(f"{str(header.get(f'CTYPE{i}', 'none')).strip()} {lengths[i]}" for i in lengths)
    if lengths[lon] == 1 or lengths[lat] == 1:
        raise ImageError(one_position(str(path), f"axes {kinds}"))
    if any(length > 1 for i, length in lengths.items() if i not in axes):
        raise IsCubeError(
            f"{path} holds a cube of shape {tuple(shape)} (axes {kinds}); choose a window and a wavelength range "
            f"first: read it with sunraster or ndcube, and align that cube (see sunalign.images.cubes)."
        )
    return Plane((n - lat, n - lon), (lengths[lat], lengths[lon]), _renumbered(header, axes, len(lengths)))


def one_position(name: str, evidence: str) -> str:
    """Say that an observation is of a single slit position; ``seen`` is by what one sees it.

    Parameters
    ----------
    name : `str`
        What to call the observation.
    evidence : `str`
        By what one sees it, such as a card of the header.
    """
    return (
        f"{name} has one slit position only ({evidence}): a sit-and-stare or a single exposure, and no image. As a "
        f"target sunalign.align takes it all the same, by its path or as an NDCube with all of its axes; or align a "
        f"raster of the same pointing, and write the correction into this one with sunalign.correct() or "
        f"'sunalign apply'."
    )


def _renumbered(header: fits.Header, axes: tuple[int, int], n: int) -> fits.Header:
    """Header with longitude and latitude for axes 1 and 2; everything else, couplings too, as it was."""
    order = [*axes, *(i for i in range(1, n + 1) if i not in axes)]
    if order == list(range(1, n + 1)):
        return header
    new_of = {old: new for new, old in enumerate(order, start=1)}
    new = fits.Header()
    for card in header.cards:
        new.append((_moved(card.keyword, new_of), card.value, card.comment), end=True)
    return new


def _moved(key: str, new_of: Mapping[int, int]) -> str:
    def number(text: str) -> int:
        return new_of.get(int(text), int(text))

    if match := _PAIR.match(key):
        return f"{match[1]}{number(match[2])}_{number(match[3])}"
    if match := _AXIS.match(key):
        return f"{match[1]}{number(match[2])}"
    if match := _PARAMETER.match(key):
        return f"{match[1]}{number(match[2])}{match[3]}"
    return key


def no_file(path: Path) -> str:
    """Say that a file is not there, and what about it if its name is a pattern.

    Parameters
    ----------
    path : `~pathlib.Path`
    """
    if not re.search(r"[*?\[]", path.name):
        return f"There is no file {path}."
    found = len(list(path.parent.glob(path.name)))
    return (
        f"There is no file {path}: that is a pattern, which is not expanded here, and {found or 'no'} "
        f"file{'' if found == 1 else 's'} would match it. Check the folder, and give the files themselves "
        f"(in Python sorted(glob.glob(...)), in a shell without quotes)."
    )
