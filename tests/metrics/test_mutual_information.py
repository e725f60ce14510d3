"""Mutual information: laws of information, and images whose brightnesses are not proportional."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.metrics import NCC, MutualInformation
from sunalign.optimizers import ScipyOptimizer
from sunalign.testing.helpers import run, small_problem

CLEAR = np.zeros((60, 50), bool)


def noise(seed, shape=(60, 50)):
    return np.random.default_rng(seed).uniform(size=shape)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-1e3, 1e3), st.booleans())
def test_gain_and_offset_do_not_matter(seed, gain, offset, on_target):
    a, b = noise(seed), np.hypot(noise(seed), noise(seed + 1))
    changed = (a, gain * b + offset) if on_target else (gain * a + offset, b)
    # A value at the edge of a bin may fall to the other side by rounding.
    assert MutualInformation().score(*changed, CLEAR) == pytest.approx(MutualInformation().score(a, b, CLEAR), abs=5e-3)


@given(st.integers(0, 1000), st.permutations(range(16)))
def test_any_one_to_one_relation_tells_as_much(seed, order):
    # Integer levels that fall in bins of their own, in any order whatever.
    levels = np.random.default_rng(seed).integers(0, 16, (60, 50))
    levels.flat[:2] = 0, 15
    reference = levels + 0.05 * noise(seed)
    metric = MutualInformation(n_bins=64)
    same, mixed = (
        metric.score(reference, relation[levels].astype(float), CLEAR) for relation in (np.arange(16), np.array(order))
    )
    assert mixed == pytest.approx(same, abs=1e-9)


@pytest.mark.parametrize("n", [1000, 3000, 20000])
@pytest.mark.parametrize("n_bins", [16, 32])
def test_unrelated_images_tell_nothing_however_small_the_overlap(n, n_bins):
    shape = (n // 20, 20)
    scores = [
        MutualInformation(n_bins=n_bins).score(noise(k, shape), noise(k + 50, shape), np.zeros(shape, bool))
        for k in range(8)
    ]
    assert abs(np.mean(scores)) < 0.02


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_gaussian_images_have_the_information_of_theory(correlation):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 500, 500))
    b = correlation * a + np.sqrt(1 - correlation**2) * b
    expected = -0.5 * np.log(1 - correlation**2)
    score = MutualInformation(n_bins=32).score(a, b, np.zeros(a.shape, bool))
    # Bins and their smoothing blur what is there.
    assert 0.75 * expected - 0.005 < score < 1.02 * expected


def test_smooth_in_the_reference():
    a, b = noise(0), noise(0) ** 2
    bump = noise(2)
    scores = np.array([MutualInformation().score(a + e * bump, b, CLEAR) for e in np.linspace(0, 0.02, 41)])
    assert np.abs(np.diff(scores, 2)).max() < 0.05 * np.ptp(scores)


def test_degenerate_images():
    assert np.isnan(MutualInformation().score(noise(0), noise(1), ~CLEAR))
    assert MutualInformation().score(np.ones_like(noise(0)), noise(1), CLEAR) == 0.0


def test_options_are_checked():
    with pytest.raises(ValueError, match="'n_bins' is at least 5; got 2"):
        MutualInformation(n_bins=2)


@pytest.mark.parametrize("seed", range(3))
def test_beats_ncc_where_what_is_bright_in_one_is_dark_in_the_other(seed):
    case = small_problem(shape=(96, 80), seed=seed, smoothness=2.0, noise=2.0)

    def error(metric):
        # The brighter half of the intensities is turned over: absorption instead of emission.
        data = case.problem.target.data
        target = replace(case.problem.target, data=np.where(data > 100, 200 - data, data))
        problem = replace(case.problem, target=target, metric=metric)
        found = run(ScipyOptimizer(method="direct"), case._replace(problem=problem).objective())
        return np.abs((found.x - case.truth) / case.space.step).max()

    assert error(MutualInformation()) < 0.1
    assert error(NCC()) > 1
