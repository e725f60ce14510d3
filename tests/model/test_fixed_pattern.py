"""Signs that two images agree by what stays with their detector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sunalign.model.fixed_pattern import moved_scene, other_sizes, pull_of_defects
from sunalign.testing.helpers import small_problem, smooth_image

WIDE = 10 * smooth_image((160, 160), seed=2, smoothness=2.5)
REACH = 12


def pair(row, column, noise=0.0, seed=0):
    """Two arrays that show one scene, the second (column, row) pixels away from where the first has it."""
    rng = np.random.default_rng(seed)
    first, second = (ndimage.shift(WIDE, by, order=5, mode="wrap")[20:140, 20:140] for by in ((0, 0), (row, column)))
    return [image + noise * WIDE.std() * rng.normal(size=image.shape) for image in (first, second)]


@given(st.floats(-7, 7), st.floats(-7, 7))
def test_structure_of_middle_size_says_how_far_the_scene_is(row, column):
    reference, target = pair(row, column)
    found = other_sizes(reference, target, np.zeros(2), REACH)
    distance = np.hypot(row, column)
    # Between pixels a spline and the straight line through three of them differ a little.
    assert found == pytest.approx(distance, abs=0.1) or (found == 0 and distance < 0.1)
    assert other_sizes(reference, target, -np.array([column, row]), REACH) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_that_is_right_in_noise_is_not_told_otherwise(seed):
    reference, target = pair(0.3, -0.4, noise=0.5, seed=seed)
    assert other_sizes(reference, target, np.array([0.4, -0.3]), REACH) == 0


@pytest.mark.parametrize("widths", [(2.0, 0.0), (0.0, 2.0), (4.0, 0.0), (0.0, 4.0)])
@pytest.mark.parametrize("apart", [(0.5, -0.4), (0.5, 0.5), (-0.3, 0.1)])
def test_an_answer_that_is_right_is_not_told_otherwise_by_another_sharpness(apart, widths):
    reference, target = pair(apart[1], apart[0], noise=0.05)
    reference, target = (
        ndimage.gaussian_filter(image, w) for image, w in zip((reference, target), widths, strict=True)
    )
    assert other_sizes(reference, target, np.array([-apart[0], -apart[1]]), REACH) < 0.02


@pytest.mark.parametrize("gap", [4, 8, 30])
@pytest.mark.parametrize("both", [True, False])
def test_an_answer_that_is_right_is_not_told_otherwise_by_gaps(gap, both):
    reference, target = pair(-0.4, 0.5, noise=0.05)
    missing = (np.indices(target.shape)[0] // gap) % 2 > 0
    target = np.where(missing, np.nan, target)
    reference = np.where(missing & both, np.nan, reference)
    assert other_sizes(reference, target, np.array([-0.5, 0.4]), REACH) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_what_stays_on_its_pixels_does_not_count(seed):
    rng = np.random.default_rng(seed)
    reference, target = pair(3, -4, noise=0.3, seed=seed)
    lone = np.where(rng.random(target.shape) < 0.03, 30 * WIDE.std(), 0.0)
    clusters = ndimage.maximum_filter(np.where(rng.random(target.shape) < 0.003, 30 * WIDE.std(), 0.0), 2)
    hot = lone + clusters
    dim = 5 * WIDE.std() * np.hypot(*(np.indices(target.shape) / 60 - 1)) ** 2
    found = other_sizes(reference + hot - dim, target + hot - dim, np.zeros(2), REACH)
    assert found == pytest.approx(5, abs=0.5)


def test_pixels_of_pull_are_variances_of_the_shifts_alone():
    case = small_problem(fit=("shift", "scale"))  # of pixels of 4 arcsec
    unknown = np.full((4, 4), np.nan)
    pull = pull_of_defects(case.problem, case.truth, 0.5, unknown)
    assert case.problem.names == ("shift_x", "shift_y", "scale_x", "scale_y")
    np.testing.assert_allclose(pull, np.diag([4.0, 4.0, 0.0, 0.0]), rtol=0.05)
    for nothing in (0.0, 0.01, np.nan):
        assert not pull_of_defects(case.problem, case.truth, nothing, unknown).any()


def test_errors_that_are_claimed_already_are_not_added_again():
    case = small_problem(fit=("shift", "scale"))
    for claimed, left in ((1.0, 3.0), (3.9, 0.1), (5.0, 0.0)):
        pull = pull_of_defects(case.problem, case.truth, 0.5, claimed * np.eye(4))
        np.testing.assert_allclose(np.diag(pull), [left, left, 0, 0], atol=0.2)


def test_images_too_small_or_empty_say_nothing():
    small = WIDE[:10, :10]
    empty = np.full((64, 64), np.nan)
    assert other_sizes(small, small, np.ones(2), REACH) == 0
    assert other_sizes(empty, empty, np.ones(2), REACH) == 0
    assert other_sizes(WIDE, WIDE, np.ones(2), 0) == 0
    assert moved_scene(empty, empty, REACH) == 0
