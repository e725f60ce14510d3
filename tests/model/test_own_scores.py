"""Errors and doubts of metrics that have nothing but scores, against simulated truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, optimize

import astropy.units as u

import sunalign
from sunalign.abc import SupportsJudgement
from sunalign.metrics import NCC, GradientCorrelation, MutualInformation, Residual
from sunalign.model.own_scores import above_most, highest_near, parts_of, score_covariance
from sunalign.model.quality import assess, covariance
from sunalign.model.score_by_score import surface_of_scores
from sunalign.model.search_space import SearchSpace
from sunalign.model.surface import SearchSurface
from sunalign.optimizers import LevenbergMarquardt
from sunalign.testing.helpers import run, small_map, small_problem, smooth_image

METRICS = [MutualInformation(), GradientCorrelation(), Residual()]
PIXEL = 4.0  # arcsec
CENTRE = np.array([60.0, -40.0])
TRUTH = np.array([12.0, -8.0])


def named(metric):
    return type(metric).__name__


def starting_at(case, x):
    return SearchSpace(tuple(replace(p, start=value) for p, value in zip(case.space, x, strict=True)))


def top_of(case, x):
    """The highest score near by, to a hundredth of a pixel or so."""
    space = starting_at(case, x)
    return optimize.minimize(
        lambda x: -case.problem.score(space.clip(x)),
        highest_near(case.problem, space),
        method="Nelder-Mead",
        options={"xatol": 0.01, "fatol": 1e-9, "maxfev": 60},
    ).x


def noisy(case, data, rng, sigma=6.0, width=0.0):
    noise = rng.normal(size=data.shape)
    if width:
        noise = ndimage.gaussian_filter(noise, width, mode="wrap")
    target = replace(case.problem.target, data=data + sigma * noise / noise.std())
    return case._replace(problem=replace(case.problem, target=target))


def bright(seed, size=192):
    """Bright structure of several sizes."""
    rng = np.random.default_rng(seed)
    texture = sum(s * ndimage.gaussian_filter(rng.normal(size=(size, size)), s, mode="wrap") for s in (2, 5, 12))
    return 100 * np.exp(0.7 * texture / texture.std())


def pair(seed, *, folded=False, elsewhere=False, size=96):
    """Target and a wider reference of pixels of 4 arcsec; the target lies 3 pixels right and 2 below in truth."""
    rng, scene = np.random.default_rng(seed), bright(seed)
    shown = bright(seed + 500) if elsewhere else scene
    start = (scene.shape[0] - size) // 2
    data = shown[start - 2 : start - 2 + size, start + 3 : start + 3 + size]
    data = np.abs(data - data.mean()) if folded else data
    wide = scene[start - 20 : start + size + 20, start - 20 : start + size + 20]
    return [
        small_map(image + 5 * rng.normal(size=image.shape), scale=PIXEL, centre=tuple(CENTRE)) for image in (data, wide)
    ]


def aligned(target, reference, **options):
    return sunalign.align(target, reference, max_shift=60 * u.arcsec, on_doubt="ignore", **options)


def shift_of(result):
    return np.array([result.correction.parameters[name] for name in ("shift_x", "shift_y")])


def errors_of(result):
    return np.array([result.correction.errors[name] for name in ("shift_x", "shift_y")])


def test_only_ncc_can_judge():
    assert isinstance(NCC(), SupportsJudgement)
    assert not any(isinstance(metric, SupportsJudgement) for metric in METRICS)


# An image, and what it deviates from its own mean by: brighter and darker look alike, and ncc sees nothing.


@pytest.mark.parametrize("seed", range(3))
def test_an_image_and_its_absolute_deviation_from_the_mean_are_no_reason_to_doubt(seed):
    result = aligned(*pair(seed, folded=True), metric="mutual-information")
    assert result.success, result.message
    np.testing.assert_allclose(shift_of(result), TRUTH, atol=0.7)
    assert (np.abs(shift_of(result) - TRUTH) < 4 * errors_of(result)).all()
    assert (errors_of(result) < 0.7).all()
    assert result.assumptions["judged by"] == "the scores of mutual-information"
    assert "judged by the scores of mutual-information" in result.provenance()


def test_ncc_is_not_said_to_judge_itself():
    assert "judged by" not in aligned(*pair(0)).assumptions


@pytest.mark.parametrize("metric", METRICS, ids=named)
@pytest.mark.parametrize("seed", range(2))
def test_a_right_answer_is_believed(metric, seed):
    result = aligned(*pair(seed), metric=metric)
    assert result.success, result.message
    np.testing.assert_allclose(shift_of(result), TRUTH, atol=0.7)


@pytest.mark.parametrize("metric", METRICS, ids=named)
@pytest.mark.parametrize("seed", range(2))
def test_another_field_is_doubted(metric, seed):
    result = aligned(*pair(seed, elsewhere=True), metric=metric)
    assert not result.success
    assert result.quality.peak_significance < 3


def test_a_metric_of_somebody_else_is_judged_by_its_own_scores(example_plugin):
    right, wrong = (aligned(*pair(1, elsewhere=far), metric="sign-agreement") for far in (False, True))
    assert right.success, right.message
    np.testing.assert_allclose(shift_of(right), TRUTH, atol=1.5)
    assert right.assumptions["judged by"] == "the scores of sign-agreement"
    assert not wrong.success


# Errors.


@pytest.mark.parametrize(
    ("metric", "folded", "width"),
    [*((metric, False, 1.5) for metric in METRICS), (MutualInformation(), True, 0.0)],
    ids=lambda value: named(value) if value in METRICS else str(value),
)
def test_errors_are_those_of_repeated_experiments(metric, folded, width):
    sun = small_problem(metric, fit="shift", shape=(60, 56), smoothness=2.0, seed=2)
    data = sun.problem.target.data
    data = np.abs(data - data.mean()) if folded else data
    rng = np.random.default_rng(8)
    found, claimed = [], []
    for _ in range(24):
        one = noisy(sun, data, rng, width=width)
        x = top_of(one, sun.truth)
        found.append(x - sun.truth)
        claimed.append(np.diag(covariance(one.problem, one.space, x)))
    # Leaving parts out errs to the safe side, by up to two where bins hold few pixels; 24 experiments know 15 %.
    ratio = np.std(np.array(found) / np.sqrt(claimed), axis=0)
    assert (ratio > 0.4).all(), ratio
    assert (ratio < 1.35).all(), ratio


def test_errors_of_least_squares_with_equal_weights_are_those_of_ncc():
    """One is the square of the other: tops and errors are the same, found in two ways."""
    sun = small_problem(fit=("shift", "scale"), shape=(90, 84), smoothness=2.0, seed=3)
    ratios = []
    for k in range(6):
        one = noisy(sun, sun.problem.target.data, np.random.default_rng(k), width=1.0)
        x = run(LevenbergMarquardt(), one.objective()).x
        other = replace(one.problem, metric=Residual(noise="uniform"))
        exact, differences = (np.sqrt(np.diag(covariance(problem, one.space, x))) for problem in (one.problem, other))
        ratios.append(differences / exact)
    np.testing.assert_allclose(np.mean(ratios, axis=0), 1.07, atol=0.17)


def test_an_answer_beside_the_top_has_an_error_as_large_as_it_is_wrong():
    sun = small_problem(MutualInformation(), fit="shift", shape=(60, 56), smoothness=2.0, seed=2)
    away = sun.truth + np.array([0.4 * PIXEL, 0.0])
    error = np.sqrt(np.diag(covariance(sun.problem, sun.space, away)))
    assert 0.25 * PIXEL < error[0] < 0.8 * PIXEL
    assert error[1] < 0.1 * PIXEL


def test_no_structure_and_too_few_parts_have_no_errors():
    sun = small_problem(MutualInformation(), fit="shift", shape=(60, 56))
    flat = replace(sun.problem, target=replace(sun.problem.target, data=np.full((60, 56), 3.0)))
    assert np.isnan(covariance(flat, sun.space, sun.truth)).all()
    assert np.isnan(score_covariance(sun.problem, sun.space, sun.truth, (30, 28))).all()


# Their parts.


def test_groups_hold_whole_blocks_and_every_valid_pixel():
    valid = np.random.default_rng(0).random((37, 29)) < 0.8
    groups = parts_of(valid, (5, 4))
    assert ((groups >= 0) == valid).all()
    assert set(np.unique(groups[valid])) == set(range(24))
    for j in range(0, 37, 5):
        for i in range(0, 29, 4):
            block = groups[j : j + 5, i : i + 4]
            assert len(np.unique(block[block >= 0])) <= 1


@pytest.mark.parametrize("holes", [False, True])
def test_scores_of_all_shifts_are_those_of_the_fast_surface(holes):
    wide, target = smooth_image((30, 26), seed=1), smooth_image((20, 18), seed=2)
    masks = [np.zeros(image.shape, bool) for image in (wide, target)]
    if holes:
        masks[0][:12], masks[1][3:6, 2:9] = True, True
    given = (wide, target, *masks, (5, 4), 0.5)
    slow, fast = surface_of_scores(NCC().score, *given), NCC().shift_surface(*given)
    np.testing.assert_allclose(slow.scores, fast.scores, atol=1e-6)
    np.testing.assert_array_equal(slow.overlap, fast.overlap)
    np.testing.assert_array_equal(slow.dx, fast.dx)
    np.testing.assert_array_equal(slow.dy, fast.dy)


def test_a_peak_is_compared_with_its_rival_above_what_is_usual():
    scores = np.array([[0.5, 0.5, 0.9], [0.5, -np.inf, 0.5], [0.7, 0.5, 0.5]])
    shift = np.zeros((3, 3))
    raised = above_most(SearchSurface(scores, np.ones((3, 3), int), shift, shift)).scores
    assert raised[0, 2] == pytest.approx(0.4)
    assert raised[2, 0] == pytest.approx(0.2)
    assert raised[1, 1] == -np.inf


def test_halves_that_were_moved_apart_disagree_in_any_metric():
    sun = small_problem(GradientCorrelation(), fit="shift", shape=(90, 90), smoothness=2.0, seed=4)
    patches = (np.arange(90)[:, None] // 22.5 + np.arange(90) // 22.5) % 2 == 0
    here, there = (sun.problem.sample(sun.truth + np.array([side * PIXEL, 0.0])) for side in (-1.0, 1.0))
    torn = replace(sun.problem, target=replace(sun.problem.target, data=np.where(patches, here, there)))
    whole = replace(sun.problem, target=replace(sun.problem.target, data=sun.problem.sample(sun.truth)))
    apart, together = (assess(problem, sun.space, sun.truth)[0] for problem in (torn, whole))
    assert together.split_half < 0.1
    assert apart.split_half > 0.8
    assert any("halves" in doubt for doubt in apart.doubts())
