"""Laws for reference builders."""

from __future__ import annotations

import pickle

import numpy as np

from sunpy.map import GenericMap

from sunalign.abc import ReferenceBuilder
from sunalign.exceptions import AlignmentError
from sunalign.images import Image, to_image
from sunalign.model.reference import ImageReference
from sunalign.model.reference_contract import Reference
from sunalign.pointing.displaced import displaced
from sunalign.testing._law import Check, require, unchanged
from sunalign.testing.helpers import small_map, smooth_image

__all__ = ["CHECKS"]

_SHAPE = (40, 36)

#: Minutes between the images of a sequence, of which the second has the target's own time.
_MINUTES = (-2, 0, 2)


def _target() -> Image:
    return to_image(small_map(_scene()[8:-8, 8:-8]))


def _scene() -> np.ndarray:
    return smooth_image((_SHAPE[0] + 16, _SHAPE[1] + 16), seed=1, smoothness=3.0)


def _references(data: np.ndarray, *, many: bool) -> list[GenericMap]:
    dates = [
        f"2024-05-01T00:0{m}:00" if m >= 0 else f"2024-04-30T23:5{10 + m}:00" for m in (_MINUTES if many else (0,))
    ]
    return [small_map(data, header={"date-obs": date, "mjd-obs": 60431.0 + _days(date)}) for date in dates]


def _days(date: str) -> float:
    minute = int(date[14:16])
    return (minute - 60 if minute > 30 else minute) / 1440


def _built(builder: ReferenceBuilder, data: np.ndarray | None = None) -> tuple[Reference, list[GenericMap]]:
    """What the builder makes of one image, or of three where it wants a sequence, as the framework takes it."""
    data = _scene() if data is None else data
    target = _target()
    try:
        references = _references(data, many=False)
        built = builder.build(references, target)
    except AlignmentError:
        references = _references(data, many=True)
        built = builder.build(references, target)
    if isinstance(built, Reference):
        return built, references
    return ImageReference.of(to_image(built), target), references


def _at_pixels(reference: Reference, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[: _SHAPE[0], : _SHAPE[1]].astype(float)
    return reference.sample(x + dx, y + dy, np.arange(_SHAPE[1], dtype=float))


def check_reference_can_be_sampled(builder: ReferenceBuilder) -> None:
    """``build`` returns a reference, or an image, with a value at every pixel of a target that it covers."""
    reference, _ = _built(builder)
    values = _at_pixels(reference)
    require(values.shape == _SHAPE, f"Sampled at {_SHAPE} points the reference gives an array of shape {values.shape}.")
    covered = np.isfinite(values).mean()
    require(
        covered > 0.9, f"An image that covers the whole target gives values at {100 * covered:.0f} % of its pixels."
    )


def check_built_from_itself_is_itself(builder: ReferenceBuilder) -> None:
    """At its own time and from its own place the reference shows the target what the target shows."""
    difference = _at_pixels(_built(builder)[0]) - _target().data
    off = float(np.sqrt(np.nanmean(difference**2)) / _target().data.std())
    require(off < 0.05, f"The reference differs from the image it was built of by {100 * off:.1f} % of its contrast.")


def check_outside_coverage_is_nan(builder: ReferenceBuilder) -> None:
    """Where there is no image there is NaN: zero would be a measurement."""
    reference, _ = _built(builder)
    for dx, dy in ((500.0, 0.0), (0.0, -500.0), (300.0, 300.0)):
        values = _at_pixels(reference, dx, dy)
        require(np.isnan(values).all(), f"({dx:.0f}, {dy:.0f}) pixels beside the image the reference has values.")


def check_displaced_columns_are_sampled_beside(builder: ReferenceBuilder) -> None:
    """Columns displaced one by one, by whole pixels, show the pixels beside each of them."""
    reference, _ = _built(builder)
    ny, nx = _SHAPE
    moved = np.random.default_rng(2).integers(-3, 4, (2, nx))
    sampled = displaced(reference, moved).sample_grid(np.eye(3), _SHAPE, np.arange(nx, dtype=float))
    y, x = np.arange(8, ny + 8)[:, None] + moved[1], np.arange(8, nx + 8) + moved[0]
    difference = (sampled - _scene()[y, x])[4:-4, 4:-4]
    require(
        np.isfinite(difference).mean() > 0.9, "Where columns are displaced by some pixels the reference has no values."
    )
    off = float(np.sqrt(np.nanmean(difference**2)) / _target().data.std())
    require(off < 0.05, f"Displaced columns differ from the pixels beside them by {100 * off:.1f} % of the contrast.")


def check_missing_pixels_are_nan(builder: ReferenceBuilder) -> None:
    """NaN in an image are NaN in the reference, and do not spread over it."""
    data = _scene()
    data[20:28, 20:28] = np.nan
    values = _at_pixels(_built(builder, data)[0])
    require(np.isnan(values[14:18, 14:18]).all(), "Where the image has NaN the reference has values.")
    require(np.isfinite(values).mean() > 0.8, "A few NaN in the image make most of the reference NaN.")


def check_every_point_is_its_own(builder: ReferenceBuilder) -> None:
    """A value depends on its own point and column, not on which others are asked for, or in what order."""
    reference, _ = _built(builder)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(2, _SHAPE[1] - 3, 200), rng.uniform(2, _SHAPE[0] - 3, 200)
    columns = rng.integers(0, _SHAPE[1], 200).astype(float)
    whole = reference.sample(x, y, columns)
    require(whole.shape == x.shape, f"Sampled at {x.shape} points the reference gives the shape {whole.shape}.")
    part = np.array([reference.sample(*(a[k : k + 1] for a in (x, y, columns)))[0] for k in range(0, 200, 20)])
    require(np.allclose(part, whole[::20], rtol=1e-6, equal_nan=True), "One point alone has another value.")
    turned = reference.sample(x[::-1], y[::-1], columns[::-1])[::-1]
    require(np.allclose(turned, whole, rtol=1e-6, equal_nan=True), "In another order the points have other values.")


def check_gradient_is_the_derivative(builder: ReferenceBuilder) -> None:
    """``sample_with_gradient`` gives the value and how it changes with x and y."""
    reference, _ = _built(builder)
    y, x = np.mgrid[4 : _SHAPE[0] - 4 : 3.0, 4 : _SHAPE[1] - 4 : 3.0]
    columns, step = np.rint(x), 0.02
    value, by_x, by_y = reference.sample_with_gradient(x, y, columns)
    require(np.allclose(value, reference.sample(x, y, columns), rtol=1e-4, equal_nan=True), "The values differ.")
    for name, got, ax, ay in (("x", by_x, step, 0.0), ("y", by_y, 0.0, step)):
        expected = (reference.sample(x + ax, y + ay, columns) - reference.sample(x - ax, y - ay, columns)) / (2 * step)
        off = np.nanmax(np.abs(got - expected)) / np.nanmax(np.abs(expected))
        require(off < 0.02, f"The derivative by {name} is off by {100 * off:.0f} % of the largest.")


def check_pixel_size_is_known(builder: ReferenceBuilder) -> None:
    """``pixel_size`` is the angle of a pixel of what was built, in radians, or NaN where there is no such thing."""
    size = _built(builder)[0].pixel_size
    require(np.isnan(size) or 1e-6 < size < 1e-3, f"The images have pixels of 1.9e-5 rad; pixel_size is {size}.")


def check_build_repeats(builder: ReferenceBuilder) -> None:
    """The same images make the same reference."""
    one, two = (_at_pixels(_built(builder)[0], 0.3, -0.2) for _ in range(2))
    require(np.array_equal(one, two, equal_nan=True), "Built twice of the same images the reference differs.")


def check_inputs_are_not_changed(builder: ReferenceBuilder) -> None:
    """References and target are as they were."""
    target = _target()
    _, references = _built(builder)  # says how many it wants
    references = _references(_scene(), many=len(references) > 1)
    headers = [dict(image.meta) for image in references]
    with unchanged("The reference builder", target.data, *(image.data for image in references)):
        built = builder.build(references, target)
        if isinstance(built, Reference):
            _at_pixels(built)
    require([dict(image.meta) for image in references] == headers, "The reference builder changed a header.")


def check_reference_travels_to_workers(builder: ReferenceBuilder) -> None:
    """With its intensities scaled, the reference can be pickled, and samples the same afterwards."""
    reference = _built(builder)[0].scaled(np.sqrt)
    expected = _at_pixels(reference, 0.3, -0.2)
    try:
        copy = pickle.loads(pickle.dumps(reference))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise AssertionError(f"The reference cannot be pickled, which n_jobs=2 needs: {error}.") from error
    got = _at_pixels(copy, 0.3, -0.2)
    require(np.allclose(got, expected, equal_nan=True), "The reference samples differently after a trip by pickle.")


CHECKS: tuple[Check, ...] = (
    check_reference_can_be_sampled,
    check_built_from_itself_is_itself,
    check_outside_coverage_is_nan,
    check_displaced_columns_are_sampled_beside,
    check_missing_pixels_are_nan,
    check_every_point_is_its_own,
    check_gradient_is_the_derivative,
    check_pixel_size_is_known,
    check_build_repeats,
    check_inputs_are_not_changed,
    check_reference_travels_to_workers,
)
