"""Smoothing, against SciPy, and what it does where pixels are missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sunalign.model.interpolation import SplineImage
from sunalign.model.smoothing import gaussian_smoothed


@pytest.mark.parametrize("width", [0.4, 0.8, 1.2, 2.5, (0.7, 1.9), (0.0, 1.0)])
def test_smoothing_is_that_of_scipy(width):
    image = np.random.default_rng(0).normal(size=(70, 53))
    expected = ndimage.gaussian_filter(image, width, mode="mirror", truncate=3)
    smooth, trusted = gaussian_smoothed(image, width)
    np.testing.assert_allclose(smooth, expected, atol=1e-12)
    assert trusted.all()


@given(st.integers(0, 1000))
def test_smoothing_keeps_a_plane_and_does_not_see_what_is_missing(seed):
    rng = np.random.default_rng(seed)
    image = np.full((40, 50), 7.0)
    image[rng.random(image.shape) < 0.02] = np.nan
    image[10:16, 20:29] = np.nan
    smooth, trusted = gaussian_smoothed(image, 1.0)
    np.testing.assert_allclose(smooth[trusted], 7.0, atol=1e-12)
    assert not trusted[11:15, 21:28].any()
    # Single gaps are bridged: nearly everything far from the hole is there.
    assert trusted[25:, :].mean() > 0.9


def test_a_smoothed_spline_has_the_same_noise_everywhere_between_pixels():
    noise = np.random.default_rng(1).normal(size=(400, 400))
    grid = np.meshgrid(np.arange(5.0, 395), np.arange(5.0, 395))

    def unevenness(width):
        spline = SplineImage(noise, width)
        on, between = spline.sample(*grid), spline.sample(grid[0] + 0.5, grid[1])
        return 1 - between.var() / on.var()

    assert unevenness(0.0) > 0.2
    assert abs(unevenness(1.0)) < 0.01
