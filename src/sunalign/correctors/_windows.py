"""Windows of one observation, and which of them share a pointing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ndcube import NDCollection
from ndcube.ndcube import NDCubeBase
from ndcube.ndcube_sequence import NDCubeSequenceBase

from sunalign.correction import Correction
from sunalign.correctors._correct import correct
from sunalign.exceptions import CorrectionError, warn_user
from sunalign.images.cubes import cube_sky, window_name
from sunalign.wcs.same_pointing import same_pointing
from sunalign.wcs.sky_part import SkyPart

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
    if base is other:
        return True
    (one, lengths), (two, others) = (_celestial(cube) for cube in (base, other))
    return same_pointing(one, lengths, two, others)


def _celestial(cube: NDCubeBase) -> tuple[SkyPart, np.ndarray]:
    """Celestial part of the WCS of the window a cube is a part of, and the upper edges of the cube in its pixels."""
    sky = cube_sky(cube)
    shape = np.array([cube.data.shape[sky.x_axis], cube.data.shape[sky.y_axis]], float)
    if sky.core is None or sky.matrix is None or sky.offset is None:
        return SkyPart.from_wcs(sky.wcs), shape
    axes = [sky.core.wcs.lng, sky.core.wcs.lat]
    scale = np.abs(sky.matrix[axes]).sum(axis=1)
    return SkyPart.from_wcs(sky.core), scale * shape + sky.offset[axes] + 0.5 - 0.5 * scale


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
