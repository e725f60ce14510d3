"""Displacements of pairs to displacements of frames, their errors, and the drift."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.sequences import _network
from sunalign.sequences._drift import bridge, smooth_part
from sunalign.sequences._network import PairTable, closure_share, pairs_up_to, solve_network


def table(theta, pairs, own, added, rng, claimed=None):
    """Pairs of frames with noise of their own, and of the pairs'."""
    n, m = len(theta), len(pairs)
    i, j = pairs.T
    u = own * rng.normal(size=(n, 2))
    shift = (theta + u)[j] - (theta + u)[i] + added * rng.normal(size=(m, 2))
    variance = 2 * own**2 + added**2 if claimed is None else claimed
    return PairTable(i, j, shift, np.tile(variance * np.eye(2), (m, 1, 1)), np.ones(m), np.ones(m), np.ones(m, bool))


@given(st.integers(0, 10**6), st.integers(3, 30), st.integers(1, 6))
def test_pairs_without_noise_give_the_frames_exactly(seed, n, reach):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(n, 2))
    found = solve_network(table(theta, pairs_up_to(n, reach, n), 0.0, 0.0, rng, claimed=1.0), n)
    assert found.placed.all()
    assert np.allclose(found.theta, theta - theta.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(("own", "added"), [(0.1, 0.02), (0.05, 0.15)])
def test_errors_are_as_large_as_they_claim(own, added):
    rng, scaled, shares = np.random.default_rng(1), [], []
    pairs = pairs_up_to(40, 6, 40)
    for _ in range(30):
        theta = rng.normal(size=(40, 2))
        found = solve_network(table(theta, pairs, own, added, rng), 40)
        left = found.theta - (theta - theta.mean(axis=0))
        scaled.append(left / np.sqrt(np.einsum("nii->ni", found.covariance)))
        shares.append(found.share)
    assert np.std(scaled) == pytest.approx(1.0, abs=0.12)
    assert np.mean(shares) == pytest.approx(added**2 / (2 * own**2 + added**2), rel=0.25)


def test_errors_of_many_frames_are_drawn_and_agree(monkeypatch):
    rng = np.random.default_rng(2)
    made = table(rng.normal(size=(60, 2)), pairs_up_to(60, 4, 60), 0.05, 0.1, rng)
    exact = solve_network(made, 60).covariance
    monkeypatch.setattr(_network, "_DENSE", 10)
    drawn = solve_network(made, 60).covariance
    assert np.allclose(np.einsum("nii->n", drawn), np.einsum("nii->n", exact), rtol=0.25)


@given(st.integers(0, 10**6))
def test_outliers_among_pairs_do_not_bend_the_frames(seed):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(20, 2))
    made = table(theta, pairs_up_to(20, 6), 0.02, 0.02, rng)
    wrong = rng.choice(len(made), 12, replace=False)
    made.shift[wrong] += rng.choice([-1, 1], size=(12, 2)) * rng.uniform(5, 15, size=(12, 2))
    found = solve_network(made, 20)
    # One whose pairs are nearly all wrong is nowhere, and no other is bent by it.
    assert found.placed.sum() >= 18
    left = (found.theta - theta)[found.placed]
    assert np.abs(left - left.mean(axis=0)).max() < 0.2
    assert found.weight[wrong].max() < 0.1


def test_what_hangs_on_nothing_is_not_placed():
    rng = np.random.default_rng(3)
    pairs = pairs_up_to(10, 3)
    pairs = pairs[~((pairs < 6).any(axis=1) & (pairs >= 6).any(axis=1))]
    found = solve_network(table(rng.normal(size=(10, 2)), pairs, 0.1, 0.1, rng), 10)
    assert found.placed.tolist() == [True] * 6 + [False] * 4
    assert np.isnan(found.covariance[8]).all()


def test_triangles_of_noise_close_nowhere():
    rng = np.random.default_rng(4)
    made = table(np.zeros((20, 2)), pairs_up_to(20, 4), 0.1, 10.0, rng, claimed=0.02)
    assert closure_share(made) > 50
    assert not solve_network(made, 20).placed.any()


def test_the_skeleton_costs_little():
    pairs = pairs_up_to(1000, 8, 1000)
    lag = pairs[:, 1] - pairs[:, 0]
    assert set(lag) == {*range(1, 9), 16, 32, 64, 128, 256, 512}
    assert np.count_nonzero(lag > 8) < 500


def test_anchors_that_agree_share_one_constant():
    rng = np.random.default_rng(5)
    at, every = np.arange(0, 200, 20.0), np.arange(200.0)
    found = bridge(3 + 0.1 * rng.normal(size=(10, 1)), np.full((10, 1), 0.01), at, every)
    assert found.walk[0] == 0
    assert np.ptp(found.offset) < 1e-9
    assert np.abs(found.offset - 3).max() < 0.1
    assert found.variance[50, 0] == pytest.approx(0.001, rel=1e-6)


def test_anchors_bound_a_wandering_zero():
    rng = np.random.default_rng(6)
    zero = np.cumsum(0.3 * rng.normal(size=200))
    at, every = np.arange(0, 200, 10), np.arange(200.0)
    found = bridge((zero[at] + 0.05 * rng.normal(size=20))[:, None], np.full((20, 1), 0.0025), at * 1.0, every)
    left = found.offset[:, 0] - zero
    assert np.abs(left).max() < 2.5
    assert np.std(left / np.sqrt(found.variance[:, 0])) == pytest.approx(1.0, abs=0.35)
    # Known best where there is an anchor.
    assert found.variance[at, 0].mean() < found.variance[5::10, 0].mean()


def test_an_anchor_that_contradicts_the_others_has_no_say():
    at, every = np.arange(0, 100, 10.0), np.arange(100.0)
    gap = np.full((10, 1), 2.0) + 0.05 * np.random.default_rng(7).normal(size=(10, 1))
    gap[4] = 30.0
    found = bridge(gap, np.full((10, 1), 0.0025), at, every)
    assert found.weight[4] < 0.1
    assert np.abs(found.offset - 2).max() < 0.3


@given(st.integers(0, 10**6), st.integers(20, 60))
def test_a_cubic_in_time_is_all_drift(seed, n):
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.uniform(0, 1000, n))
    values = np.polynomial.polynomial.polyval(seconds / 500 - 1, rng.normal(size=(4, 2))).T
    assert np.allclose(smooth_part(values, seconds, np.ones(n, bool)), values, atol=1e-8)
