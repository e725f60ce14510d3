"""Laws for correctors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

from sunalign.abc import Corrector
from sunalign.correction import PARAMETERS, Correction
from sunalign.exceptions import CorrectionError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, angles
from sunalign.images import to_image
from sunalign.testing._law import Check, require
from sunalign.testing.helpers import small_cube, small_file, small_header, small_map, smooth_image

__all__ = ["CHECKS"]

_WHERE: dict[str, Any] = {"scale": (4.0, 3.0), "roll": 7.0, "centre": (300.0, -200.0)}

#: Values that a corrector is asked to write, by parameter.
_VALUES: dict[str, Any] = {
    "shift_x": 12.3 * u.arcsec,
    "shift_y": -7.9 * u.arcsec,
    "scale_x": 1.02,
    "scale_y": 0.97,
    "rotation": 0.8 * u.deg,
}


_PROVENANCE = "found by a law of sunalign.testing"


def _map() -> Any:
    mask = np.zeros((48, 40), bool)
    mask[:3] = True
    return small_map(mask=mask, header={"observer-note": "keep me", "history": "made by hand"}, **_WHERE)


def _pair(coordinates: Callable[[fits.Header], Any]) -> Any:
    data = smooth_image()
    header = fits.Header({key.upper(): value for key, value in small_header(data.shape, **_WHERE).items()})
    return data, coordinates(header)


@contextmanager
def _targets() -> Iterator[dict[str, Any]]:
    """One of every kind of target; files last as long as the ``with`` block."""
    with ExitStack() as stack:
        yield {
            "a Map": _map(),
            "(data, header)": _pair(lambda header: header),
            "(data, wcs)": _pair(WCS),
            "a cube": small_cube(**_WHERE),
            "a path": stack.enter_context(small_file(**_WHERE)),
        }


def _each(corrector: Corrector, correction: Correction) -> Iterator[tuple[str, Any, Any]]:
    """Every kind of target that the corrector takes, before and after."""
    taken = 0
    with _targets() as targets:
        for name, target in targets.items():
            try:
                after = corrector.apply(target, correction, provenance=_PROVENANCE)
            except CorrectionError:
                continue
            taken += 1
            yield name, target, after
    require(taken, "The corrector takes neither a Map, (data, header), (data, wcs), an NDCube nor a path.")


def _written(corrector: Corrector) -> Correction:
    """Everything that the corrector says it can express, about a point that is not the centre."""
    values = {name: value for name, value in _VALUES.items() if name in corrector.parameters}
    image = to_image(_map())
    columns = image.grid.jacobian(*image.grid.centre)
    return Correction.from_parameters(**values, pivot=(310, -190) * u.arcsec, axes=columns / np.hypot(*columns))


def _sky(target: Any) -> np.ndarray:
    """(Tx, Ty), in arcsec, of a net of pixels."""
    grid = to_image(target).grid
    return np.array(grid.angles(*_net(grid))) / ARCSEC


def _net(grid: PixelGrid) -> tuple[np.ndarray, np.ndarray]:
    ny, nx = grid.shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5))
    return x, y


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())


def check_parameters_are_known(corrector: Corrector) -> None:
    """``parameters`` says what the corrector can express, in the names of `sunalign.correction.PARAMETERS`."""
    unknown = set(corrector.parameters) - set(PARAMETERS)
    require(isinstance(corrector.parameters, frozenset), "'parameters' is a frozenset.")
    require(corrector.parameters and not unknown, f"'parameters' are some of {', '.join(PARAMETERS)}; got {unknown}.")


def check_zero_correction_changes_nothing(corrector: Corrector) -> None:
    """Coordinates stay to the last digit that matters."""
    for name, before, after in _each(corrector, Correction()):
        moved = _largest(_sky(after) - _sky(before))
        require(moved < 1e-6, f"A correction that does nothing moves {name} by {moved:.2g} arcsec.")


def check_coordinates_are_those_asked_for(corrector: Corrector) -> None:
    """Every pixel ends where the correction, as an affine map of the sky, puts it."""
    correction = _written(corrector)
    for name, before, after in _each(corrector, correction):
        grid = to_image(before).grid
        x, y = _net(grid)
        wanted = np.array(angles(np.tensordot(correction.sky_matrix, grid.to_directions(x, y), 1))) / ARCSEC
        off = _largest(_sky(after) - wanted)
        require(off < 0.03, f"A pixel of {name} ends {off:.3g} arcsec, of 3 a pixel, from where it should.")


def check_reference_coordinate_moves_by_the_shift(corrector: Corrector) -> None:
    """A shift is added to the coordinates at the pivot: the sense of ``shift_reference_coord``."""
    shift = {name: _VALUES[name] for name in ("shift_x", "shift_y") if name in corrector.parameters}
    pivot = np.array([_WHERE["centre"]]) * u.arcsec
    correction = Correction.from_parameters(**shift, pivot=pivot[0])
    for name, before, after in _each(corrector, correction):
        centre = to_image(before).grid.centre
        old, new = (np.array(to_image(image).grid.angles(*centre)) / ARCSEC for image in (before, after))
        off = _largest(new - old - correction.shift.to_value(u.arcsec))
        require(off < 1e-3, f"The reference coordinate of {name} moved from {old} to {new}; {correction!r}.")


def check_inverse_restores_the_coordinates(corrector: Corrector) -> None:
    """A correction and then its inverse are nothing."""
    correction = _written(corrector)
    for name, before, after in _each(corrector, correction):
        back = _largest(_sky(corrector.apply(after, correction.inverse())) - _sky(before))
        require(back < 0.03, f"Corrected and corrected back, {name} is {back:.3g} arcsec from where it was.")


def check_type_is_kept(corrector: Corrector) -> None:
    """A Map gives a Map, a cube a cube, a path a path."""
    for name, before, after in _each(corrector, _written(corrector)):
        if isinstance(before, os.PathLike):
            require(isinstance(after, (str, os.PathLike)), f"{name} became {type(after).__name__}.")
        else:
            require(type(after) is type(before), f"{name} became {type(after).__name__}.")
        if isinstance(before, tuple):
            require(type(after[1]) is type(before[1]), f"The coordinates of {name} became {type(after[1]).__name__}.")


def check_data_are_not_resampled(corrector: Corrector) -> None:
    """The very same array, not a copy; in a file the same values."""
    for name, before, after in _each(corrector, _written(corrector)):
        if isinstance(before, os.PathLike):
            same = np.array_equal(fits.getdata(before), fits.getdata(after))
        else:
            old, new = (image[0] if isinstance(image, tuple) else image.data for image in (before, after))
            same = np.shares_memory(old, new) and np.array_equal(old, new)
        require(same, f"The data of {name} are not those of the target.")


def check_mask_uncertainty_and_unit_are_kept(corrector: Corrector) -> None:
    """A corrector that drops one of them has changed the science."""
    for name, before, after in _each(corrector, _written(corrector)):
        if isinstance(before, (tuple, os.PathLike)):
            continue
        require(np.array_equal(before.mask, after.mask), f"The mask of {name} is lost.")
        require(
            after.uncertainty is not None and np.array_equal(before.uncertainty.array, after.uncertainty.array),
            f"The uncertainty of {name} is lost.",
        )
        require(before.unit == after.unit, f"The unit of {name} became {after.unit}.")


def check_other_metadata_are_kept(corrector: Corrector) -> None:
    """Whatever does not say where the pixels are stays as it was."""
    for name, before, after in _each(corrector, _written(corrector)):
        old, new = _metadata(before), _metadata(after)
        lost = [key for key, value in old.items() if _is_kept(key) and new.get(key) != value]
        require(not lost, f"{', '.join(lost)} of {name} changed.")


def check_history_is_written(corrector: Corrector) -> None:
    """What is said of an image is said in HISTORY, after what was there."""
    for name, before, after in _each(corrector, _written(corrector)):
        if isinstance(before, tuple) and isinstance(before[1], WCS):
            continue
        old, new = (str(_metadata(image).get("history", "")).strip() for image in (before, after))
        require(new.startswith(old), f"The HISTORY that {name} had is lost.")
        require(len(new) > len(old), f"The HISTORY of {name} does not tell of the correction.")
        require(_PROVENANCE in new, f"The HISTORY of {name} lacks the lines that were given as 'provenance'.")


def check_accepts_what_it_can_correct(corrector: Corrector) -> None:
    """A target that ``accepts`` takes is corrected; without a caller's word that is how the corrector is chosen."""
    with _targets() as targets:
        for name, target in targets.items():
            accepted = corrector.accepts(target)
            require(isinstance(accepted, bool), f"'accepts' says True or False; got {accepted!r} of {name}.")
            if accepted:
                try:
                    corrector.apply(target, Correction())
                except CorrectionError as error:
                    raise AssertionError(f"The corrector accepts {name} and then refuses it: {error}") from error
    require(not corrector.accepts(object()), "The corrector accepts any object at all.")


def check_target_is_not_changed(corrector: Corrector) -> None:
    """A new object, or file, has the correction; the target is as it was."""
    with _targets() as untouched:
        expected = {name: (_sky(target), _metadata(target), _bytes(target)) for name, target in untouched.items()}
    for name, before, after in _each(corrector, _written(corrector)):
        sky, metadata, content = expected[name]
        require(after is not before, f"{name} itself was returned.")
        require(_largest(_sky(before) - sky) == 0, f"The coordinates of {name} that was given changed.")
        require(_metadata(before) == metadata, f"The header of {name} that was given changed.")
        require(_bytes(before) == content, f"The data of {name} that was given changed.")


def check_refuses_what_it_cannot_express(corrector: Corrector) -> None:
    """What is not among ``parameters`` raises; it is not left out in silence."""
    for parameter in sorted(set(PARAMETERS) - corrector.parameters):
        correction = Correction.from_parameters(**{parameter: _VALUES[parameter]})
        with _targets() as targets:
            for name, target in targets.items():
                try:
                    corrector.apply(target, correction)
                except CorrectionError:
                    continue
                raise AssertionError(f"{parameter} is not among 'parameters', and {name} was 'corrected' by it.")


CHECKS: tuple[Check, ...] = (
    check_parameters_are_known,
    check_zero_correction_changes_nothing,
    check_coordinates_are_those_asked_for,
    check_reference_coordinate_moves_by_the_shift,
    check_inverse_restores_the_coordinates,
    check_type_is_kept,
    check_data_are_not_resampled,
    check_mask_uncertainty_and_unit_are_kept,
    check_other_metadata_are_kept,
    check_history_is_written,
    check_accepts_what_it_can_correct,
    check_target_is_not_changed,
    check_refuses_what_it_cannot_express,
)


def _metadata(target: Any) -> dict[str, Any]:
    if isinstance(target, (str, os.PathLike)):
        target = fits.getdata(target), fits.getheader(target)
    meta = target[1] if isinstance(target, tuple) else target.meta
    if isinstance(meta, WCS):
        return {}
    if isinstance(meta, fits.Header):
        return {key.lower(): str(meta[key]) for key in meta if key}
    return {str(key).lower(): value for key, value in meta.items()} if isinstance(meta, Mapping) else {}


def _bytes(target: Any) -> bytes:
    if isinstance(target, os.PathLike):
        return bytes(np.asarray(fits.getdata(target)).tobytes())
    return bytes((target[0] if isinstance(target, tuple) else target.data).tobytes())


def _is_kept(key: str) -> bool:
    """Whether a keyword has nothing to do with where the pixels are, nor with the record of what was done."""
    coordinates = ("crval", "cdelt", "crota", "pc", "cd", "lonpole", "latpole", "xcen", "ycen")
    return not key.startswith((*coordinates, "history", "comment", "checksum", "datasum", "sunalign"))
