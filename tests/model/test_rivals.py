"""Scenes that repeat themselves: another shift correlates as well, whatever the points of the surface show of it."""

import numpy as np
import pytest
from scipy import ndimage

import astropy.units as u

import sunpy.map

import sunalign
from sunalign.model.rivals import rivals_of
from sunalign.model.surface import SearchSurface, peak_significance
from sunalign.testing.helpers import small_map

PIXEL = 4.0  # arcsec


def grid(x, y, period):
    return np.sin(2 * np.pi * x / period + 1.0) + np.sin(2 * np.pi * y / period + 2.0)


def checkers(x, y, period):
    return np.sin(2 * np.pi * x / period + 1.0) * np.sin(2 * np.pi * y / period + 2.0)


def stripes(x, y, period):
    return np.sin(2 * np.pi * (x + 0.3 * y) / period)


def ridge(x, y, period):
    return np.exp(-((x - 0.4 * y - 40) ** 2) / (2 * (period / 3) ** 2))


def pair(scene, period, moved, shape=(96, 96), margin=40, snr=8.0, own=0.0, seed=0):
    """A target that was moved by so many pixels, and a reference that goes on beyond it on all sides.

    ``own`` is structure that does not repeat itself, as a part of the contrast.
    """
    rng = np.random.default_rng(seed)
    whole = tuple(n + 2 * margin for n in shape)
    texture = ndimage.gaussian_filter(rng.normal(size=whole), 2.0)
    texture *= own / texture.std()

    def view(size, at):
        y, x = np.mgrid[: size[0], : size[1]].astype(float)
        x, y = x + at[0], y + at[1]
        repeated = scene(x, y, period)
        alone = ndimage.map_coordinates(texture, [y + margin, x + margin], order=3, mode="nearest")
        image = repeated / 0.7 + alone
        return small_map(100 + 20 * (image + rng.normal(size=size) / snr))

    return view(shape, moved), view(whole, (-margin, -margin))


def aligned(target, reference, reach, fit="shift", **options):
    return sunalign.align(target, reference, fit=fit, max_shift=reach * PIXEL * u.arcsec, on_doubt="ignore", **options)


def error(result, moved):
    found = [getattr(result.correction, f"shift_{axis}").to_value(u.arcsec) / PIXEL for axis in "xy"]
    return float(np.hypot(*np.subtract(found, moved)))


@pytest.mark.parametrize("scene", [grid, checkers, stripes])
@pytest.mark.parametrize("period", [6.0, 8.3, 13.0, 20.0, 32.0])
@pytest.mark.parametrize("reach", [0.8, 1.3])
def test_a_scene_that_repeats_itself_is_doubted(scene, period, reach):
    for seed in range(3):
        moved = np.random.default_rng(seed).uniform(-0.9, 0.9, 2) * reach * period
        result = aligned(*pair(scene, period, moved, seed=seed), reach * period)
        assert not result.success, (seed, error(result, moved))


@pytest.mark.parametrize("seed", range(4))
def test_without_noise_too(seed):
    moved = np.random.default_rng(seed).uniform(-9, 9, 2)
    result = aligned(*pair(grid, 13.0, moved, snr=1e6, shape=(128, 128)), 10.4)
    assert not result.success, error(result, moved)


@pytest.mark.parametrize("metric", ["residual", "mutual-information"])
def test_a_metric_that_has_only_scores_sees_it_too(metric):
    moved = (3.3, -2.1)
    result = aligned(*pair(grid, 16.0, moved), 20.0, metric=metric)
    assert not result.success


def test_a_raster_of_a_scene_that_repeats_itself_is_doubted():
    target, reference = pair(grid, 12.0, (2.3, -3.4), shape=(96, 96))
    # Steps four pixels wide.
    steps = target.superpixel([4, 1] * u.pix, func=np.mean)
    assert not aligned(steps, reference, 15.0, fit=("shift", "scale")).success
    assert not aligned(steps, reference, 10.0).success


@pytest.mark.parametrize("seed", range(3))
def test_structure_along_one_direction_alone_is_doubted(seed):
    moved = np.random.default_rng(seed).uniform(-12, 12, 2)
    assert not aligned(*pair(ridge, 15.0, moved, snr=20.0, seed=seed), 20.0).success


@pytest.mark.parametrize("period", [16.0, 25.0])
@pytest.mark.parametrize("own", [0.3, 0.6])
def test_what_repeats_itself_in_part_is_found(period, own):
    moved = (7.3, -11.2)
    result = aligned(*pair(grid, period, moved, own=own), 25.0)
    assert error(result, moved) < 0.2
    assert result.success, result.message


def test_rivals_are_as_high_as_they_are_between_the_points():
    y, x = np.mgrid[:15, :15].astype(float)
    # The first top on a point, the other, as high, half way between four of them.
    scores = sum(
        np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 1.2**2)) for cx, cy in ((3.0, 7.0), (10.5, 7.5))
    )  # fmt: skip
    surface = SearchSurface(0.9 * scores, np.full(x.shape, 1000), 8 * (x - 7), 8 * (y - 7))
    assert peak_significance(surface, 1000) > 5
    top, rival = rivals_of(surface)
    assert top.score == pytest.approx(rival.score, abs=0.01)
    assert (rival.shift_x, rival.shift_y) == pytest.approx((28.0, 4.0), abs=1.0)
    # What was not scored is no peak.
    scores[:, 7:] = -np.inf
    assert rivals_of(surface._replace(scores=scores)) == []
    assert rivals_of(surface._replace(scores=np.full((15, 15), -np.inf))) == []


def test_a_shoulder_is_no_rival():
    x, y = np.meshgrid(np.arange(-10.0, 11), np.arange(-10.0, 11))
    scores = np.exp(-(x**2 + y**2) / 30) + 0.3 * np.exp(-((x - 4) ** 2 + y**2) / 20)
    assert rivals_of(SearchSurface(scores, np.full(x.shape, 1000), 4 * x, 4 * y)) == []


def test_the_sign_is_the_peaks_significance():
    result = aligned(*pair(grid, 13.0, (3.3, -2.1), snr=1e6, shape=(128, 128)), 11.0)
    assert result.quality.peak_significance < 3
    assert "Another shift correlates almost as well" in result.message
    assert isinstance(result.aligned, sunpy.map.GenericMap)


def test_where_hardly_any_shift_has_a_score_there_is_no_rival():
    y, x = np.mgrid[:7, :7] * 1.0
    scores = np.where(x == 1, 0.1 * y, -np.inf)
    assert rivals_of(SearchSurface(scores, np.ones(scores.shape), x, y)) == []
