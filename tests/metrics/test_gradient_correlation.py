"""Correlation of gradients: exact under ramps, careful with masks, and not fooled by a glow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.metrics import NCC, GradientCorrelation
from sunalign.optimizers import ScipyOptimizer
from sunalign.testing.helpers import run, small_problem, smooth_image
from sunalign.testing.strategies import masked_pairs

REACHES = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 5)))


def by_hand(reference, target, mask, reach_x, reach_y):
    """Loop over the pixels, correlate with `numpy.corrcoef`."""
    ny, nx = mask.shape
    scores = []
    for dy, dx in ((0, reach_x), (reach_y, 0)):
        found = [
            (reference[j + dy, i + dx] - reference[j - dy, i - dx], target[j + dy, i + dx] - target[j - dy, i - dx])
            for j in range(dy, ny - dy)
            for i in range(dx, nx - dx)
            if not (mask[j, i] or mask[j + dy, i + dx] or mask[j - dy, i - dx])
        ]
        if found:
            scores.append(np.corrcoef(np.array(found).T)[0, 1])
    return np.mean(scores)


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 4), st.floats(0, 0.2))
def test_score_is_the_formula(seed, reach_x, reach_y, masked):
    rng = np.random.default_rng(seed)
    reference, target = rng.normal(size=(2, 14, 11))
    mask = rng.random((14, 11)) < masked
    reference[mask], target[mask] = np.nan, np.inf
    expected = by_hand(reference, target, mask, reach_x, reach_y)
    assert GradientCorrelation(reach=(reach_x, reach_y)).score(reference, target, mask) == pytest.approx(
        expected, abs=1e-12
    )


@given(masked_pairs(), REACHES)
def test_score_is_between_minus_one_and_one_or_missing(pair, reach):
    score = GradientCorrelation(reach=reach).score(*pair)
    assert np.isnan(score) or -1 <= score <= 1


@given(st.integers(0, 1000), st.floats(0.1, 10), *[st.floats(-100, 100)] * 3, REACHES)
def test_gain_and_a_linear_background_do_not_matter(seed, gain, offset, by_x, by_y, reach):
    reference, target = smooth_image((20, 16), seed=seed), smooth_image((20, 16), seed=seed + 1)
    mask = np.random.default_rng(seed).random((20, 16)) < 0.1
    metric = GradientCorrelation(reach=reach)
    y, x = np.mgrid[:20, :16]
    changed = gain * target + offset + by_x * x + by_y * y
    assert metric.score(reference, changed, mask) == pytest.approx(metric.score(reference, target, mask), abs=1e-9)


def test_square_pixels_are_not_needed():
    # Repeating every row three times makes pixels that are three times lower.
    reference, target = smooth_image((20, 24), seed=0), smooth_image((20, 24), seed=1)
    tall = [np.repeat(image, 3, axis=0) for image in (reference, target)]
    square = GradientCorrelation(reach=(2, 2)).score(reference, target, np.zeros((20, 24), bool))
    assert GradientCorrelation(reach=(2, 6)).score(*tall, np.zeros((60, 24), bool)) == pytest.approx(square, abs=1e-3)


def test_an_axis_too_short_for_derivatives_is_left_out():
    reference, target = np.random.default_rng(0).normal(size=(2, 30, 1))
    expected = np.corrcoef((reference[4:] - reference[:-4]).ravel(), (target[4:] - target[:-4]).ravel())[0, 1]
    assert GradientCorrelation().score(reference, target, np.zeros((30, 1), bool)) == pytest.approx(expected)
    assert np.isnan(GradientCorrelation(reach=15).score(reference, target, np.zeros((30, 1), bool)))


@pytest.mark.parametrize("reach", [0, -1, 1.5, (1, 0), (1, 2, 3), "two"])
def test_options_are_checked(reach):
    with pytest.raises(ValueError, match="'reach' is a number of pixels, at least 1"):
        GradientCorrelation(reach=reach)


@pytest.mark.parametrize("seed", range(3))
def test_beats_ncc_under_a_glow(seed):
    case = small_problem(shape=(96, 80), seed=seed, smoothness=2.0, noise=2.0)
    y, x = np.mgrid[:96, :80]
    glow = 3 * y + 300 * np.exp(-((x - 10) ** 2 + (y - 80) ** 2) / (2 * 25**2))

    def error(metric):
        target = replace(case.problem.target, data=case.problem.target.data + glow)
        problem = replace(case.problem, target=target, metric=metric)
        found = run(ScipyOptimizer(), case._replace(problem=problem).objective())
        return np.abs((found.x - case.truth) / case.space.step).max()

    assert error(GradientCorrelation()) < 0.05
    assert error(NCC()) > 0.2
