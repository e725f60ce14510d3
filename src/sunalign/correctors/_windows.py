"""Windows of one observation, and which of them share a pointing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from astropy.wcs import WCS

from ndcube import NDCollection
from ndcube.ndcube import NDCubeBase
from ndcube.ndcube_sequence import NDCubeSequenceBase

from sunalign.correction import Correction
from sunalign.correctors._correct import correct
from sunalign.exceptions import CorrectionError, warn_user
from sunalign.geometry.coordinates import nearest_turn
from sunalign.images.cubes import CubeSky, cube_sky, window_name
from sunalign.wcs.celestial import flat_wcs

__all__ = ["apply_to_windows"]


def apply_to_windows(cubes: Any, correction: Correction, *, like: Any = None) -> Any:
    """Correct every window that shares the pointing of the one a correction was found on.

    Parameters
    ----------
    cubes : mapping, sequence, `~ndcube.NDCollection` or `~ndcube.NDCubeSequence`
        Cubes, or such containers of them; a `sunraster.RasterSequence` too.
    correction : `~sunalign.Correction`
        What `sunalign.align` found on one of them.
    like : key, index or `~ndcube.NDCube`, optional
        That one; the first by default.

    Returns
    -------
    object
        A new container of the same type. Windows with another pointing are in it as they were, and a warning names
        them. The data are shared.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        There is no cube, or one of them cannot be corrected.

    Examples
    --------
    >>> import astropy.units as u
    >>> from sunalign import Correction
    >>> from sunalign.correctors import apply_to_windows
    >>> from sunalign.testing.helpers import small_cube
    >>> windows = {"C III": small_cube(), "O VI": small_cube(n_wavelengths=5)}
    >>> corrected = apply_to_windows(windows, Correction.from_parameters(3 * u.arcsec, -5 * u.arcsec))
    >>> list(corrected)
    ['C III', 'O VI']
    """
    named = list(_windows(cubes))
    if not named:
        raise CorrectionError("There is no cube to correct in what was given.")
    base = _base(cubes, named, like)
    others = {id(cube): label for label, cube in named if not _same_pointing(base, cube)}
    if others:
        warn_user(
            f"Other pointing than {_called(base, named)}: {', '.join(others.values())}. They are left as they were; "
            f"align each of them by itself."
        )

    def corrected(cube: NDCubeBase) -> NDCubeBase:
        if id(cube) in others:
            return cube
        try:
            return correct(cube, correction)
        except CorrectionError as error:
            raise CorrectionError(f"Window {_called(cube, named)}: {error}") from error

    return _rebuilt(cubes, corrected)


def _windows(cubes: Any, label: str = "") -> Iterator[tuple[str, NDCubeBase]]:
    """Every cube in nested containers, with what to call it."""
    if isinstance(cubes, NDCubeBase):
        yield label or window_name(cubes) or "the cube", cubes
        return
    for key, item in _items(cubes):
        # A window's own name tells more than its place in a list.
        own = window_name(item) if isinstance(item, NDCubeBase) and isinstance(key, int) and not label else ""
        yield from _windows(item, own or (f"{label}[{key}]" if label else str(key)))


def _items(cubes: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(cubes, Mapping):
        return cubes.items()
    if isinstance(cubes, NDCubeSequenceBase):
        return enumerate(cubes.data)
    if isinstance(cubes, (list, tuple)):
        return enumerate(cubes)
    raise TypeError(
        f"Windows are cubes in a dictionary, a list, an NDCollection or an NDCubeSequence; got {type(cubes).__name__}."
    )


def _base(cubes: Any, named: Sequence[tuple[str, NDCubeBase]], like: Any) -> NDCubeBase:
    if isinstance(like, NDCubeBase):
        return like
    if like is None:
        return named[0][1]
    found = dict(_items(cubes)).get(like)
    if found is None:
        known = ", ".join(repr(key) for key, _ in _items(cubes))
        raise CorrectionError(f"There is no window {like!r}; 'like' is a cube or one of {known}.")
    return next(cube for _, cube in _windows(found))


def _called(cube: NDCubeBase, named: Sequence[tuple[str, NDCubeBase]]) -> str:
    return next((label for label, other in named if other is cube), window_name(cube) or "the cube")


def _same_pointing(base: NDCubeBase, other: NDCubeBase) -> bool:
    """Whether two windows look at one place, to a tenth of a pixel at the corners.

    The same pixels are there, or the same edges where one is binned, or the same offsets from the reference pixel
    where one is cut.
    """
    if base is other:
        return True
    one, two = cube_sky(base), cube_sky(other)
    (a, shape), (b, theirs) = _plane_and_shape(one, base), _plane_and_shape(two, other)
    unit = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    mine = unit * shape[:, None] - 0.5
    same = (mine, unit * theirs[:, None] - 0.5, mine + (b.wcs.crpix - a.wcs.crpix)[:, None])
    return any(_distance(a, mine, b, pixels) < 0.1 for pixels in same)


def _plane_and_shape(sky: CubeSky, cube: NDCubeBase) -> tuple[WCS, np.ndarray]:
    """WCS of the window a cube is a part of, and the upper edges of the cube in its pixels."""
    shape = np.array([cube.data.shape[sky.x_axis], cube.data.shape[sky.y_axis]], float)
    if sky.core is None or sky.matrix is None or sky.offset is None:
        return sky.wcs, shape
    axes = [sky.core.wcs.lng, sky.core.wcs.lat]
    plane = flat_wcs(sky.core, np.eye(sky.core.naxis)[:, axes], np.zeros(sky.core.naxis), "The cube")
    scale = np.abs(sky.matrix[axes]).sum(axis=1)
    return plane, scale * shape + sky.offset[axes] + 0.5 - 0.5 * scale


def _distance(a: WCS, mine: np.ndarray, b: WCS, theirs: np.ndarray) -> float:
    """Largest distance, in pixels of the first, between points of two WCS."""
    (lon, lat), (lon2, lat2) = (np.array(wcs.wcs_pix2world(*pixels, 0)) for wcs, pixels in ((a, mine), (b, theirs)))
    apart = np.array([nearest_turn(lon - lon2, 360) * np.cos(np.radians(lat)), lat - lat2])
    return float(np.hypot(*(np.linalg.inv(a.pixel_scale_matrix) @ apart)).max())


def _rebuilt(cubes: Any, function: Callable[[NDCubeBase], NDCubeBase]) -> Any:
    """Container of the same type with a function applied to every cube."""
    if isinstance(cubes, NDCubeBase):
        return function(cubes)
    items = [(key, _rebuilt(item, function)) for key, item in _items(cubes)]
    if isinstance(cubes, NDCollection):
        axes = cubes.aligned_axes
        aligned = None if axes is None else tuple(axes[key] for key, _ in items)
        return type(cubes)(tuple(items), aligned_axes=aligned, meta=cubes.meta, sanitize_inputs=False)
    if isinstance(cubes, NDCubeSequenceBase):
        new = copy.copy(cubes)
        new.data = [item for _, item in items]
        return new
    if isinstance(cubes, Mapping):
        return type(cubes)(items)  # type: ignore[call-arg]
    return type(cubes)(item for _, item in items)
