"""Laws for metrics."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sunalign.abc import (
    Metric,
    NormalEquations,
    ShiftSurface,
    SupportsGaussNewton,
    SupportsJudgement,
    SupportsShiftSurface,
)
from sunalign.testing._law import Check, require, unchanged
from sunalign.testing.helpers import smooth_image

__all__ = ["CHECKS"]


class _Pair(NamedTuple):
    reference: np.ndarray
    target: np.ndarray
    mask: np.ndarray


def _pair(seed: int = 0, shape: tuple[int, int] = (24, 20), *, masked: bool = True) -> _Pair:
    """Two alike images and a mask with a border, a row, a blob and single pixels."""
    rng = np.random.default_rng(seed)
    reference = smooth_image(shape, seed=seed, smoothness=2.0)
    target = (
        0.7 * reference + 0.3 * smooth_image(shape, seed=seed + 1, smoothness=2.0) + rng.normal(scale=2, size=shape)
    )
    mask = np.zeros(shape, bool)
    if masked:
        mask[:2], mask[:, -3:], mask[9], mask[14:18, 5:9] = True, True, True, True
        mask |= rng.random(shape) < 0.05
    return _Pair(reference, target, mask)


def _pairs() -> Iterator[_Pair]:
    for seed in range(3):
        yield _pair(10 * seed, masked=seed > 0)


def _score(metric: Any, pair: _Pair) -> float:
    with np.errstate(all="ignore"):
        return float(metric.score(pair.reference, pair.target, pair.mask))


def _close(one: float, other: float, tolerance: float = 1e-6) -> bool:
    return bool(np.isclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True))


def check_score_is_a_float(metric: Metric) -> None:
    """Two images with something in common have a finite score, which is a `float`."""
    for pair in _pairs():
        score = metric.score(*pair)
        require(isinstance(score, float), f"The score is of type {type(score).__name__}; return a float.")
        require(np.isfinite(score), f"The score of two ordinary images is {score}.")


def check_masked_values_do_not_matter(metric: Metric) -> None:
    """Whatever is under the mask, NaN included, the score is the same."""
    for pair in _pairs():
        expected = _score(metric, pair)
        for junk in (np.nan, np.inf, -1e30, 12345.0):
            reference, target = (np.where(pair.mask, junk, image) for image in (pair.reference, pair.target))
            got = _score(metric, _Pair(reference, target, pair.mask))
            require(_close(got, expected, 1e-9), f"With {junk} under the mask the score is {got}, not {expected}.")


def check_all_masked_is_neutral(metric: Metric) -> None:
    """With nothing to compare the score is NaN, or one finite value whatever the images hold."""
    nothing = np.full((24, 20), np.nan)
    pairs = [*_pairs(), _Pair(nothing, nothing, np.zeros((24, 20), bool))]
    scores = [_score(metric, pair._replace(mask=np.ones_like(pair.mask))) for pair in pairs]
    require(not np.isinf(scores).any(), f"With nothing to compare the score is {scores[0]}; return NaN.")
    require(all(_close(score, scores[0], 0) for score in scores), f"With nothing to compare the scores are {scores}.")


def check_image_matches_itself_best(metric: Metric) -> None:
    """Larger is better: no image scores higher with another one than with itself."""
    for pair in _pairs():
        itself = _score(metric, pair._replace(target=pair.reference))
        noise = np.random.default_rng(5).normal(100, 20, pair.reference.shape)
        for name, other in {
            "a noisy copy": pair.target,
            "a shifted copy": np.roll(pair.reference, (2, 1), (0, 1)),
            "its mirror image": pair.reference[::-1, ::-1],
            "noise": noise,
        }.items():
            score = _score(metric, pair._replace(target=other))
            require(score <= itself + 1e-9, f"An image scores {itself} with itself and {score} with {name}.")


def check_better_match_scores_higher(metric: Metric) -> None:
    """A copy with a little noise scores higher than an unrelated image."""
    for pair in _pairs():
        unrelated = smooth_image(pair.reference.shape, seed=99, smoothness=2.0)
        alike, other = _score(metric, pair), _score(metric, pair._replace(target=unrelated))
        require(alike > other, f"A noisy copy scores {alike}, an unrelated image {other}.")


def check_inputs_are_not_changed(metric: Metric) -> None:
    """Arrays are as they were; in worker processes they are read-only files."""
    for pair in _pairs():
        for array in pair:
            array.setflags(write=False)
        try:
            metric.score(*pair)
        except ValueError as error:
            if "read-only" in str(error):
                raise AssertionError("The metric writes into an array that it was given.") from error
            raise
    pair = _pair(3)
    with unchanged("The metric", *pair):
        metric.score(*pair)


def check_score_repeats(metric: Metric) -> None:
    """The same images have the same score; other images in between leave no trace."""
    first, second = _pair(0), _pair(7)
    expected = _score(metric, first)
    _score(metric, second)
    require(_score(metric, first) == expected, "The same images score differently the second time.")


def check_number_format_does_not_matter(metric: Metric) -> None:
    """Big-endian and single-precision images, and those that are not contiguous, score the same."""
    for pair in _pairs():
        # Values that every format holds exactly.
        exact = _Pair(pair.reference.astype("f4").astype("f8"), pair.target.astype("f4").astype("f8"), pair.mask)
        expected = _score(metric, exact)
        for form in ("f4", ">f4", ">f8"):
            got = _score(metric, _Pair(exact.reference.astype(form), exact.target.astype(form), exact.mask))
            require(_close(got, expected, 1e-4), f"As {np.dtype(form).str} the score is {got}, not {expected}.")
        got = _score(metric, _Pair(*(np.asfortranarray(array) for array in exact)))
        require(_close(got, expected), f"In Fortran order the score is {got}, not {expected}.")


def check_flipped_together_is_the_same(metric: Metric) -> None:
    """Which way up the images are does not matter."""
    for pair in _pairs():
        expected = _score(metric, pair)
        for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]):
            got = _score(metric, _Pair(*(np.ascontiguousarray(array[turn]) for array in pair)))
            require(_close(got, expected), f"Flipped together the images score {got}, not {expected}.")


def check_moved_together_is_the_same(metric: Metric) -> None:
    """Where in the array the valid pixels are does not matter."""
    for pair in _pairs():
        framed = _Pair(
            *(np.pad(array, 4, constant_values=fill) for array, fill in zip(pair, (0, 0, True), strict=True))
        )
        expected = _score(metric, framed)
        for shift in ((2, 0), (-3, 4), (0, -1)):
            got = _score(metric, _Pair(*(np.roll(array, shift, (0, 1)) for array in framed)))
            require(_close(got, expected), f"Moved together the images score {got}, not {expected}.")


def check_degenerate_images_are_survived(metric: Metric) -> None:
    """Constant images, one or two valid pixels, one column, one row: a number or NaN, and no warning."""
    flat, pair = np.full((8, 6), 7.0), _pair(4, (8, 6), masked=False)
    one, two = np.ones((8, 6), bool), np.ones((8, 6), bool)
    one[3, 2] = two[3, 2] = two[3, 3] = False
    cases = {
        "a constant reference": pair._replace(reference=flat),
        "a constant target": pair._replace(target=flat),
        "two constant images": _Pair(flat, flat, pair.mask),
        "one valid pixel": pair._replace(mask=one),
        "two valid pixels": pair._replace(mask=two),
        "one column": _Pair(*(array[:, :1] for array in pair)),
        "one row": _Pair(*(array[:1] for array in pair)),
    }
    for name, case in cases.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                score = metric.score(*case)
            except Exception as error:
                raise AssertionError(f"With {name} the metric raises {type(error).__name__}: {error}.") from error
        require(isinstance(score, float) and not np.isinf(score), f"With {name} the score is {score!r}.")


def check_shift_surface_equals_brute_force(metric: Metric) -> None:
    """If there is a shift surface, it holds what cropping the reference and scoring gives, shift by shift."""
    if not isinstance(metric, SupportsShiftSurface):
        return
    ny, nx, my, mx, min_overlap = 16, 13, 4, 3, 0.5
    wide, (_, target, target_mask) = (
        smooth_image((ny + 2 * my, nx + 2 * mx), seed=8, smoothness=2.0),
        _pair(8, (ny, nx)),
    )
    reference_mask = np.zeros(wide.shape, bool)
    reference_mask[:11], reference_mask[14:16, 4:9] = True, True
    arrays = (np.where(reference_mask, np.nan, wide), target, reference_mask, target_mask)
    with unchanged("The metric's shift_surface()", *arrays):
        surface = metric.shift_surface(*arrays, (my, mx), min_overlap)
    _require_layout(surface, my, mx)
    enough = min_overlap * np.count_nonzero(~target_mask)
    for j, dy in enumerate(surface.dy):
        for i, dx in enumerate(surface.dx):
            window = np.s_[my + dy : my + dy + ny, mx + dx : mx + dx + nx]
            mask = target_mask | reference_mask[window]
            overlap, got = np.count_nonzero(~mask), surface.scores[j, i]
            require(surface.overlap[j, i] == overlap, f"The overlap at the shift ({dx}, {dy}) is {overlap}.")
            if overlap < enough:
                require(got == -np.inf, f"At ({dx}, {dy}) the overlap is too small for a score of {got}; give -inf.")
            else:
                expected = _score(metric, _Pair(wide[window], target, mask))
                require(
                    _close(got, expected, 1e-4), f"At ({dx}, {dy}) the surface has {got}, score() gives {expected}."
                )


def _require_layout(surface: ShiftSurface, my: int, mx: int) -> None:
    shape = (2 * my + 1, 2 * mx + 1)
    require(
        np.array_equal(surface.dx, np.arange(-mx, mx + 1)) and np.array_equal(surface.dy, np.arange(-my, my + 1)),
        f"For a margin of {(my, mx)} dx runs from {-mx} to {mx} and dy from {-my} to {my}.",
    )
    require(
        surface.scores.shape == shape and surface.overlap.shape == shape,
        f"For a margin of {(my, mx)} the surface has shape {shape}; scores have {surface.scores.shape}, "
        f"overlap has {surface.overlap.shape}.",
    )


def check_normal_equations_point_uphill(metric: Metric) -> None:
    """If there are normal equations, their gradient has the direction of the score's, by finite differences."""
    if not isinstance(metric, SupportsGaussNewton):
        return
    pair, n = _pair(6), 3
    jacobian = np.stack([smooth_image(pair.mask.shape, seed=20 + k, smoothness=2.0) - 100 for k in range(n)])
    with unchanged("The metric's normal_equations()", *pair, jacobian):
        equations = metric.normal_equations(pair.reference, jacobian, pair.target, pair.mask)
    _require_consistency(equations, pair, n)
    expected, got = _gradient(metric, pair, jacobian), equations.gradient
    cosine = float(expected @ got / (np.linalg.norm(expected) * np.linalg.norm(got)))
    require(
        cosine > 0.999, f"The gradient {got} does not point where the score rises, {expected} (cosine {cosine:.3f})."
    )
    score = _score(metric, pair)
    require(_close(equations.score, score, 1e-5), f"Their score is {equations.score}; score() gives {score}.")


def check_block_scores_add_up(metric: Metric) -> None:
    """If the metric can judge, its blocks' shares add up to the gradient, and better scores are significant."""
    if not isinstance(metric, SupportsJudgement):
        return
    pair, n, block = _pair(6), 3, (5, 7)
    jacobian = np.stack([smooth_image(pair.mask.shape, seed=20 + k, smoothness=2.0) - 100 for k in range(n)])
    arrays = (pair.reference, jacobian, pair.target, pair.mask)
    with unchanged("The metric's block_scores()", *arrays):
        shares = metric.block_scores(*arrays, block)
    n_blocks = int(np.prod([-(-size // side) for size, side in zip(pair.mask.shape, block, strict=True)]))
    require(shares.shape == (n, n_blocks), f"{n} parameters and {n_blocks} blocks have shares of shape {shares.shape}.")
    gradient = metric.normal_equations(*arrays).gradient
    require(
        np.allclose(shares.sum(axis=1), gradient, rtol=1e-6, atol=1e-6 * np.abs(gradient).max()),
        f"The blocks' shares add up to {shares.sum(axis=1)}; the gradient is {gradient}.",
    )
    unrelated = pair._replace(target=smooth_image(pair.mask.shape, seed=99, smoothness=2.0))
    scores = _score(metric, pair), _score(metric, unrelated)
    few, many = (metric.significance(*scores, pixels) for pixels in (100, 400))
    require(
        0 < few < many and metric.significance(*scores[::-1], 100) < 0,
        f"A better score exceeds a worse one by {few} standard errors of 100 pixels and by {many} of 400.",
    )


def _gradient(metric: Metric, pair: _Pair, jacobian: np.ndarray) -> np.ndarray:
    step = 1e-3
    ends = [
        [_score(metric, pair._replace(reference=pair.reference + s * row)) for s in (-step, step)] for row in jacobian
    ]
    return np.array([(high - low) / (2 * step) for low, high in ends])


def _require_consistency(equations: NormalEquations, pair: _Pair, n: int) -> None:
    valid = int(np.count_nonzero(~pair.mask))
    require(equations.n_pixels == valid, f"{valid} pixels are valid; n_pixels is {equations.n_pixels}.")
    require(
        equations.gradient.shape == (n,) and equations.hessian.shape == (n, n),
        f"For {n} parameters the gradient has shape ({n},) and the hessian ({n}, {n}).",
    )
    lowest = np.linalg.eigvalsh(equations.hessian).min()
    require(
        np.allclose(equations.hessian, equations.hessian.T) and lowest >= -1e-9 * np.abs(equations.hessian).max(),
        "The hessian is symmetric and has no negative eigenvalue: solve(hessian, gradient) is a step uphill.",
    )


CHECKS: tuple[Check, ...] = (
    check_score_is_a_float,
    check_masked_values_do_not_matter,
    check_all_masked_is_neutral,
    check_image_matches_itself_best,
    check_better_match_scores_higher,
    check_inputs_are_not_changed,
    check_score_repeats,
    check_number_format_does_not_matter,
    check_flipped_together_is_the_same,
    check_moved_together_is_the_same,
    check_degenerate_images_are_survived,
    check_shift_surface_equals_brute_force,
    check_normal_equations_point_uphill,
    check_block_scores_add_up,
)
