"""Weighted least squares: against NumPy's own fit, and with the noise of photons."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.metrics import NCC, Residual
from sunalign.model.intensity import IntensityScaling
from sunalign.model.reference import ImageReference
from sunalign.optimizers import ScipyOptimizer
from sunalign.testing.helpers import run, small_problem
from sunalign.testing.strategies import masked_pairs


def photons(seed, shape=(24, 18)):
    rng = np.random.default_rng(seed)
    reference = np.exp(rng.normal(size=shape))
    return reference, rng.poisson(20 * reference + 5).astype(float), rng.random(shape) < 0.1


def left_over(reference, target, weights):
    """Weighted sums of squares about the best straight line and about the best constant, by `numpy.polyfit`."""
    root = np.sqrt(weights)
    return [
        float(np.sum(weights * (target - np.polyval(np.polyfit(reference, target, degree, w=root), reference)) ** 2))
        for degree in (1, 0)
    ]


@given(st.integers(0, 1000), st.floats(0.01, 3), st.sampled_from(["poisson", "uniform"]))
def test_score_is_the_formula(seed, floor, noise):
    reference, target, mask = photons(seed)
    r, t = reference[~mask], target[~mask]
    weights = np.ones_like(t)
    if noise == "poisson":
        expected = np.polyval(np.polyfit(r, t, 1), r)
        weights = 1 / (np.clip(expected, 0, None) + floor * np.mean(t))
    line, constant = left_over(r, t, weights)
    score = Residual(noise=noise, floor=floor).score(reference, target, mask)
    assert score == pytest.approx(1 - line / constant, abs=1e-9)


@given(masked_pairs())
def test_score_is_between_minus_one_and_one_or_missing(pair):
    score = Residual().score(*pair)
    assert np.isnan(score) if pair[2].all() else -1 <= score <= 1


@given(masked_pairs())
def test_with_equal_weights_it_is_the_square_of_ncc(pair):
    ncc = NCC().score(*pair)
    score = Residual(noise="uniform").score(*pair)
    assert np.isnan(score) if pair[2].all() else score == pytest.approx(ncc * abs(ncc), abs=1e-7)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_units_and_zero_of_the_reference_and_unit_of_the_target_do_not_matter(seed, gain, unit, offset):
    reference, target, mask = photons(seed)
    expected = Residual().score(reference, target, mask)
    assert Residual().score(gain * reference + offset, unit * target, mask) == pytest.approx(expected, abs=1e-9)


def test_opposite_images_score_below_zero():
    reference, target, mask = photons(0)
    assert Residual().score(-reference, target, mask) == pytest.approx(
        -Residual().score(reference, target, mask), abs=1e-9
    )


def test_a_perfect_match_scores_one():
    reference, _, mask = photons(0)
    assert Residual().score(reference, 7 * reference + 3, mask) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise": "pink"}, "'noise' is one of poisson, uniform; got 'pink'"),
        ({"floor": 0.0}, "'floor' is above 0; got 0"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        Residual(**options)


def photon_problem(seed, metric):
    """Bright points over a background, in photons, scaled as the metric likes it."""
    case = small_problem(shape=(64, 56), seed=seed, smoothness=2.0, max_shift=12.0)
    image = case.problem.reference._image
    sky = np.exp(0.1 * (image.data - 100))
    reference = ImageReference.of(replace(image, data=sky), case.problem.target)
    seen = np.maximum(replace(case.problem, reference=reference).sample(case.truth).astype(float), 0)
    data = np.random.default_rng([seed, 9]).poisson(10 * seen + 20).astype(float)
    scaling = IntensityScaling(stretch=metric.scaling, clip=None)
    problem = replace(
        case.problem,
        target=replace(case.problem.target, data=scaling.fit(data)(data)),
        reference=reference.scaled(scaling.fit(sky)),
        metric=metric,
    )
    return case._replace(problem=problem)


def test_beats_ncc_in_photons_over_a_background():
    class LinearNCC(NCC):
        scaling = "linear"

    def rms(metric):
        errors = []
        for seed in range(12):
            case = photon_problem(seed, metric)
            found = run(ScipyOptimizer(), case.objective())
            errors.append((found.x - case.truth) / case.space.step)
        return np.sqrt(np.mean(np.square(errors)))

    weighted = rms(Residual())
    # In linear intensities ncc follows the noise of the brightest; in square roots the background bends the relation.
    assert weighted < 0.85 * rms(LinearNCC())
    assert weighted < 0.85 * rms(NCC())
