"""Errors and signs of doubt, against repeated experiments and against what was done to the images."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, optimize

from sunalign.model.quality import Quality, assess, covariance
from sunalign.optimizers import LevenbergMarquardt
from sunalign.testing.helpers import run, small_problem, smooth_image

FIT = ("shift", "scale", "rotation")
PIXEL = 4.0  # arcsec


def with_data(case, data):
    """The same search with another target."""
    return case._replace(problem=replace(case.problem, target=replace(case.problem.target, data=data)))


def noisy(case, rng, sigma, width=0.0):
    """Add noise of a standard deviation, white or smoothed over a width in pixels."""
    noise = rng.normal(size=case.problem.target.data.shape)
    if width:
        noise = ndimage.gaussian_filter(noise, width, mode="wrap")
    return with_data(case, case.problem.target.data + sigma * noise / noise.std())


def errors_of(case):
    return np.sqrt(np.diag(covariance(case.problem, case.space, case.truth)))


@pytest.fixture(scope="module")
def case():
    """A target that the reference explains exactly: 25 blocks of ten pixels."""
    return small_problem(fit=FIT, shape=(90, 90), smoothness=2.0, seed=4)


# covariance


@pytest.mark.parametrize(("sigma", "width"), [(10.0, 0.0), (6.0, 1.5)])
def test_errors_are_the_scatter_of_repeated_experiments(sigma, width):
    sun = small_problem(fit="shift", shape=(90, 84), smoothness=2.0, seed=2)
    rng = np.random.default_rng(8)
    found, claimed = [], []
    for _ in range(90):
        one = noisy(sun, rng, sigma, width)
        x = run(LevenbergMarquardt(), one.objective()).x
        found.append(x - sun.truth)
        claimed.append(np.diag(covariance(one.problem, one.space, x)))
    # 90 experiments know a standard deviation to 8 %, and the errors may be 20 % off.
    ratio = np.std(found, axis=0) / np.sqrt(np.mean(claimed, axis=0))
    np.testing.assert_allclose(ratio, 1, atol=0.35)


def test_correlations_are_those_of_repeated_experiments():
    """The centre of scale and rotation is away from the middle of what is seen, so that shift and scale go together."""
    sun = small_problem(fit=("shift_x", "scale_x"), shape=(100, 120), smoothness=2.0, seed=5)
    data = sun.problem.target.data.copy()
    data[:, 60:] = np.nan
    sun = with_data(sun, data)
    rng = np.random.default_rng(1)
    found, claimed = [], []
    for _ in range(80):
        noise = rng.normal(scale=8.0, size=data.shape)
        one = with_data(sun, data + noise)
        x = run(LevenbergMarquardt(), one.objective()).x
        found.append(x)
        claimed.append(covariance(one.problem, one.space, x))
    measured = np.corrcoef(np.transpose(found))[0, 1]
    mean = np.mean(claimed, axis=0)
    assert mean[0, 1] / np.sqrt(mean[0, 0] * mean[1, 1]) == pytest.approx(measured, abs=0.15)
    assert abs(measured) > 0.5


def test_the_matrix_is_a_covariance(case):
    one = noisy(case, np.random.default_rng(0), 6.0)
    matrix = covariance(one.problem, one.space, case.truth)
    assert matrix.shape == (5, 5)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-9)
    assert (np.linalg.eigvalsh(matrix) > 0).all()


def test_errors_grow_in_proportion_to_the_noise(case):
    small, large = (errors_of(noisy(case, np.random.default_rng(3), sigma)) for sigma in (2.0, 4.0))
    np.testing.assert_allclose(large / small, 2, rtol=0.15)


def test_errors_do_not_depend_on_gain_and_offset(case):
    one = noisy(case, np.random.default_rng(3), 5.0)
    other = with_data(one, 0.02 * one.problem.target.data + 7)
    np.testing.assert_allclose(errors_of(other), errors_of(one), rtol=1e-3)


def test_structure_of_its_own_costs_more_than_white_noise(case):
    white, structure = (errors_of(noisy(case, np.random.default_rng(5), 6.0, width)) for width in (0.0, 2.0))
    assert (structure > 1.5 * white).all()


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_nothing_to_compare_has_no_errors(case, value):
    empty = with_data(case, np.full(case.problem.target.data.shape, value))
    assert np.isnan(covariance(empty.problem, empty.space, empty.truth)).all()


def test_too_few_blocks_tell_no_errors(case):
    data = np.full_like(case.problem.target.data, np.nan)
    data[40:48, 40:48] = case.problem.target.data[40:48, 40:48]
    few = with_data(case, data)
    assert np.isnan(covariance(few.problem, few.space, few.truth)).all()


# assess


def test_a_right_answer_raises_no_doubt(case):
    one = noisy(case, np.random.default_rng(0), 6.0)
    quality, surface = assess(one.problem, one.space, case.truth)
    assert quality.doubts() == []
    assert quality.overlap == 1
    assert quality.at_bound == ()
    assert quality.movement < 0.3
    assert quality.split_half < 0.3
    assert quality.peak_ratio < 0.7
    assert surface is not None


@pytest.mark.parametrize("pixels", [(4.0, 0.0), (0.0, -5.0), (3.0, 4.0)])
def test_movement_is_how_far_the_answer_is_from_the_best_shift(case, pixels):
    away = case.truth + PIXEL * np.array([*pixels, 0, 0, 0])
    quality, _ = assess(case.problem, case.space, away)
    # In pixels of the surface, which are two of the reference.
    assert quality.movement == pytest.approx(np.hypot(*pixels) / 2, abs=0.15)
    assert any("away from the highest correlation" in doubt for doubt in quality.doubts())


def test_another_field_is_doubted():
    doubted = 0
    for seed in range(8):
        sun = small_problem(fit="shift", shape=(64, 60), seed=seed)
        other = with_data(sun, smooth_image((64, 60), seed=1000 + seed))
        best = optimize.brute(
            lambda x, p=other.problem: -p.score(x), [slice(-24, 24.1, 6)] * 2, finish=optimize.fmin, disp=False
        )
        quality, _ = assess(other.problem, other.space, other.space.clip(np.asarray(best)))
        doubted += bool(quality.doubts())
    assert doubted >= 7


def test_halves_that_were_moved_apart_disagree_by_as_much(case):
    """Patches of a quarter of the field each way are moved to either side in turn."""
    ny, nx = case.problem.target.data.shape
    patches = (np.arange(ny)[:, None] // (ny / 4) + np.arange(nx) // (nx / 4)) % 2 == 0

    def judged(pixels):
        apart = np.array([pixels * PIXEL, 0, 0, 0, 0])
        here, there = (case.problem.sample(case.truth + sign * apart / 2) for sign in (-1, 1))
        torn = with_data(case, np.where(patches, here, there))
        return assess(torn.problem, torn.space, case.truth)[0]

    little, much = judged(1.5), judged(3.0)
    assert much.split_half == pytest.approx(2 * little.split_half, rel=0.15)
    assert any("halves of the target disagree" in doubt for doubt in much.doubts())


@pytest.mark.parametrize(("name", "side"), [("shift_x", "lower"), ("shift_y", "upper"), ("rotation", "upper")])
def test_parameters_at_their_bounds_are_named(case, name, side):
    x = case.truth.copy()
    k = case.space.names.index(name)
    x[k] = getattr(case.space, side)[k]
    quality, _ = assess(case.problem, case.space, x)
    assert quality.at_bound == (name,)
    assert any(doubt.startswith(f"{name} ended at a bound") for doubt in quality.doubts())


def test_overlap_is_the_part_of_the_valid_pixels_that_the_reference_covers():
    """The reference reaches 24 pixels beyond the target: of 40 columns, moved by 34, ten are lost."""
    sun = small_problem(fit="shift", shape=(48, 40), max_shift=200.0)
    for data in (sun.problem.target.data, np.where(np.arange(48)[:, None] < 20, np.nan, sun.problem.target.data)):
        one = with_data(sun, data)
        quality, _ = assess(one.problem, one.space, np.array([34 * PIXEL, 0.0]))
        assert quality.overlap == pytest.approx(30 / 40, abs=1.01 / 40)


def test_without_a_free_shift_there_is_no_surface():
    sun = small_problem(fit="rotation", truth={"rotation": 0.4})
    quality, surface = assess(sun.problem, sun.space, sun.truth)
    assert surface is None
    assert quality.overlap == 1
    assert np.isnan([quality.peak_significance, quality.movement, quality.split_half]).all()
    assert quality.doubts() == []


def test_what_could_not_be_had_raises_no_doubt_and_is_plain():
    assert Quality().doubts() == []
    assert Quality(at_bound=("shift_x",)).to_dict()["at_bound"] == ["shift_x"]
