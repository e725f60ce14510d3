"""Peaks of a surface, and how far the highest stands out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.model.surface import SearchSurface, peak_ratio, peak_significance, peaks_of


def surface(scores, pitch=(4.0, 4.0)):
    ny, nx = scores.shape
    x, y = np.meshgrid((np.arange(nx) - nx // 2) * pitch[0], (np.arange(ny) - ny // 2) * pitch[1])
    return SearchSurface(scores, np.full(scores.shape, 1000), x, y)


def bump(x0, y0, width=3.0, shape=(31, 41)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((x - shape[1] // 2 - x0) ** 2 + (y - shape[0] // 2 - y0) ** 2) / (2 * width**2))


@given(st.floats(-8, 8), st.floats(-6, 6))
def test_peak_is_found_between_the_points(x0, y0):
    (score, shift_x, shift_y), *_ = peaks_of(surface(0.9 * bump(x0, y0), (4.0, 2.5)), 1)
    assert shift_x == pytest.approx(4.0 * x0, abs=0.1)
    assert shift_y == pytest.approx(2.5 * y0, abs=0.1)
    assert 0.85 < score <= 0.9


def test_peaks_come_highest_first():
    both = 0.6 * bump(-9, 0, 2.0) + 0.9 * bump(8, 4, 2.0)
    peaks = peaks_of(surface(both), 5)
    assert [round(p[0], 1) for p in peaks[:2]] == [0.9, 0.6]
    assert peaks[0][1:] == pytest.approx((32, 16), abs=0.1)
    assert peak_ratio(surface(both)) == pytest.approx(0.6 / 0.9, abs=0.01)


def test_ratio_without_a_second_peak_is_zero_and_without_a_first_is_one():
    assert peak_ratio(surface(bump(0, 0, 30.0))) == 0.0
    assert peak_ratio(surface(np.full((5, 5), -np.inf))) == 1.0
    assert peak_ratio(surface(-bump(0, 0, 30.0))) == 1.0


def test_missing_scores_are_no_peaks():
    scores = bump(3, 3)
    scores[:, 22:26] = -np.inf
    for score, shift_x, _ in peaks_of(surface(scores), 9):
        assert np.isfinite(score)
        assert np.isfinite(shift_x)
    assert peaks_of(surface(np.full((4, 4), -np.inf)), 3) == []


def test_peak_at_the_edge_stays_inside():
    (_, shift_x, _), *_ = peaks_of(surface(bump(25, 0)), 1)
    assert shift_x == 80.0


def test_significance_grows_with_the_pixels_and_the_lead():
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=(31, 41))
    weak, strong = surface(noise + 0.2 * bump(0, 0, 1.0)), surface(noise + 0.8 * bump(0, 0, 1.0))
    assert peak_significance(strong, 1000) > peak_significance(weak, 1000) > 0
    assert peak_significance(strong, 10000) > 3 * peak_significance(strong, 1000)


def test_significance_needs_a_surface_wider_than_the_peak():
    assert np.isnan(peak_significance(surface(bump(0, 0, shape=(3, 3))), 1000))
    assert np.isnan(peak_significance(surface(np.full((20, 20), -np.inf)), 1000))
