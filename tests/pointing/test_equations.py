"""The pieces of the joint fit, each held to a computation of another kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from sunalign.metrics import NCC
from sunalign.pointing._basis import beyond_affine, spline_basis
from sunalign.pointing._equations import ColumnSums, Rows, equations, metric_equations
from sunalign.pointing._strength import posterior

NY, NX = 30, 14


def rows(seed=0, p=2, masked=0.2):
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((p + 4, NY, NX))
    mask = rng.random((NY, NX)) < masked
    mask[:, 3] = True
    return Rows(images[0], images[1 : p + 1], images[p + 1 : p + 3], 2 * images[0] + 0.5 * images[-1] + 5, mask)


def functions(seed=1, m=5):
    return np.random.default_rng(seed).standard_normal((m, 2, NX))


def jacobian_of(r, f):
    return np.array([*r.jacobian, *(g[0] * r.slopes[0] + g[1] * r.slopes[1] for g in f)])


@pytest.mark.parametrize("p", [0, 2])
def test_sums_over_columns_make_the_normal_equations_of_all_pixels(p):
    r, f = rows(p=p), functions()
    found = equations(ColumnSums.of(r), f)
    direct = NCC().normal_equations(r.sampled, jacobian_of(r, f), r.target, r.mask)
    np.testing.assert_allclose(found.gradient, direct.gradient, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.hessian, direct.hessian, rtol=1e-9, atol=1e-9)
    valid = ~r.mask
    gain, offset = np.polyfit(r.sampled[valid], r.target[valid], 1)
    left = r.target[valid] - gain * r.sampled[valid] - offset
    assert found.residual == pytest.approx(left @ left)
    assert found.n_pixels == valid.sum()


def test_another_metric_comes_in_the_unit_of_a_sum_of_squares():
    r, f = rows(), functions()
    like = equations(ColumnSums.of(r), f)
    same = metric_equations(NCC(), r, f, like)
    np.testing.assert_allclose(same.hessian, like.hessian, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(same.gradient, like.gradient, rtol=1e-9, atol=1e-9)


def test_a_displacement_is_taken_back_to_first_order():
    r = rows()
    moved = np.random.default_rng(2).standard_normal((2, NX))
    gain = 1.7
    instead = Rows(r.sampled, r.jacobian, r.slopes, r.target + gain * np.einsum("ac,ayc->yc", moved, r.slopes), r.mask)
    back = ColumnSums.of(r).as_if_not(moved, gain)
    # The constant that is subtracted for the digits differs; what gain and offset leave does not.
    one, two = (equations(sums, functions()) for sums in (back, ColumnSums.of(instead)))
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-8, atol=1e-8)
    assert one.residual == pytest.approx(two.residual)


def test_a_jitter_is_integrated_out():
    """Against the inverse of the covariance of one column's pixels, jitter and noise together."""
    r, jitter, noise, gain = rows(masked=0.0), 0.4, 0.3, 2.0
    sums = ColumnSums.of(r)
    loose, widths = sums.loosened(jitter, noise, gain)
    total = 0.0
    for c in range(NX):
        if r.mask[:, c].all():
            continue
        g = gain * r.slopes[:, :, c].T
        covariance = noise * np.eye(NY) + jitter**2 * g @ g.T
        total += np.linalg.slogdet(covariance)[1] - NY * np.log(noise)
        images = np.array([np.ones(NY), r.sampled[:, c], r.target[:, c], *r.jacobian[:, :, c], *r.slopes[:, :, c]])
        near = [0.0, *(image[~r.mask].mean() for image in (r.sampled, r.target)), *np.zeros(4)]
        images = images - np.array(near)[:, None]
        expected = noise * images @ np.linalg.solve(covariance, images.T)
        np.testing.assert_allclose(loose.gram[c], expected, rtol=1e-8, atol=1e-8)
    assert widths == pytest.approx(total)


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 60), st.integers(1, 12), st.integers(0, 10_000), st.sampled_from([0, 1]))
def test_a_basis_neither_shifts_nor_stretches(n, intervals, seed, degree):
    rng = np.random.default_rng(seed)
    valid = rng.random(n) < 0.8
    valid[:6] = True
    time = np.cumsum(rng.uniform(0.5, 2.0, n))
    basis = spline_basis(time, valid, intervals, degree)
    inside = basis.values[valid]
    np.testing.assert_allclose(inside.mean(axis=0), 0, atol=1e-7)
    if degree == 1:
        np.testing.assert_allclose(np.arange(n)[valid] @ inside, 0, atol=1e-5)
    np.testing.assert_allclose(inside.T @ inside / valid.sum(), np.eye(basis.size), atol=1e-6)
    assert basis.share.sum() == pytest.approx(1)


def test_a_smooth_curve_is_in_the_span_of_the_basis():
    n = 60
    t = np.linspace(0, 1, n)
    curve = beyond_affine(np.sin(5 * t)[:, None], np.ones(n, bool))[:, 0]
    basis = spline_basis(t, np.ones(n, bool), 10)
    left = curve - basis.values @ (basis.values.T @ curve) / n
    assert np.abs(left).max() < 1e-4
    # and most of it is expected in the slow ones
    slow = np.argsort(-basis.share)[:4]
    amplitudes = basis.values.T @ curve / n
    assert (amplitudes[slow] ** 2).sum() > 0.99 * (amplitudes**2).sum()


def test_a_straight_line_is_drift_only_where_no_scale_can_stand_in_for_it():
    t = np.linspace(-1, 1, 40)
    for degree, expected in ((0, 0.0), (1, 1.0)):
        basis = spline_basis(t, np.ones(40, bool), 6, degree)
        left = t - basis.values @ (basis.values.T @ t) / 40
        assert (left @ left) / (t @ t) == pytest.approx(expected, abs=1e-6)


def test_the_posterior_is_that_of_bayes_averaged_over_the_strengths():
    """By brute force: every strength by the density of the data it predicts."""
    rng = np.random.default_rng(3)
    q, free, n = 3, 2, 40
    design = rng.standard_normal((n, free + 2 * q))
    truth = np.array([1.0, -2.0, 0.8, 0.3, 0.0, -0.5, 0.2, 0.1])
    data = design @ truth + rng.standard_normal(n)
    share, strengths, chances = np.array([0.7, 0.2, 0.1]), np.array([0.0, 0.5, 2.0]), np.array([0.5, 0.25, 0.25])
    got = posterior(design.T @ data, design.T @ design, share, strengths, chances)
    wide = 300.0
    weights, means, seconds = [], [], []
    for a, pa in zip(strengths, chances, strict=True):
        for b, pb in zip(strengths, chances, strict=True):
            prior = np.diag([wide**2, wide**2, *(a**2 * share), *(b**2 * share)])
            predicted = np.eye(n) + design @ prior @ design.T
            weights.append(np.log(pa * pb) + multivariate_normal(np.zeros(n), predicted).logpdf(data))
            pull = prior @ design.T @ np.linalg.inv(predicted)
            means.append(pull @ data)
            seconds.append(prior - pull @ design @ prior + np.outer(means[-1], means[-1]))
    weights = np.exp(np.array(weights) - max(weights))
    weights /= weights.sum()
    mean = np.einsum("n,ni->i", weights, means)
    np.testing.assert_allclose(got.mean, mean, atol=1e-3)
    np.testing.assert_allclose(
        got.covariance, np.einsum("n,nij->ij", weights, seconds) - np.outer(mean, mean), atol=1e-3
    )
    assert got.nothing == pytest.approx(weights[0], rel=1e-3)


def test_more_evidence_means_more_probable_data():
    """The evidence of two sets of equations differs as their densities do."""
    rng = np.random.default_rng(4)
    n, q = 30, 2
    design = rng.standard_normal((n, 1 + 2 * q))
    share, strengths, chances = np.array([0.6, 0.4]), np.array([1.0]), np.ones(1)
    values = []
    data = rng.standard_normal(n)
    for scale in (1.0, 3.0):
        d = design * np.array([1.0, *np.full(2 * q, scale)])
        got = posterior(d.T @ data, d.T @ d, share, strengths, chances)
        wide = 3000.0
        prior = np.diag([wide**2, *np.tile(share, 2)])
        exact = multivariate_normal(np.zeros(n), np.eye(n) + d @ prior @ d.T).logpdf(data)
        values.append((got.evidence, exact))
    assert values[0][0] - values[1][0] == pytest.approx(values[0][1] - values[1][1], abs=1e-3)
