"""What stays with the detector and is taken for the Sun is taken out or doubted, and a good answer is not doubted."""

import numpy as np
import pytest
from scipy import ndimage

import sunpy.map

import sunalign
from sunalign.exceptions import SunalignUserWarning
from sunalign.testing.helpers import small_map

SHAPE = (128, 128)
ROW, COLUMN = np.mgrid[:128, :128]
RNG = np.random.default_rng(3)
RADIUS = np.hypot(COLUMN - 64, ROW - 64)
CHESS = 2 * ((COLUMN // 8 + ROW // 8) % 2) - 1
SPECKS = ndimage.binary_dilation(RNG.random(SHAPE) < 0.004, iterations=3)
HOT = RNG.random(SHAPE) < 0.05
#: By what the Sun is multiplied, and what is added to it.
PATTERNS = {
    "none": (np.ones(SHAPE), 0.0),
    "flat field": (1 + 0.6 * CHESS, 0.0),
    "faint flat field": (1 + 0.15 * CHESS, 0.0),
    "dust": (np.where(SPECKS, 0.3, 1.0), 0.0),
    "some dust": (np.where(SPECKS & (COLUMN < 50), 0.5, 1.0), 0.0),
    "faint dust": (np.where(SPECKS, 0.8, 1.0), 0.0),
    "occulter": (np.where(RADIUS < 30, 0.02, 1.0), 0.0),
    "small occulter": (np.where(RADIUS < 12, 0.02, 1.0), 0.0),
    "vignetting": (1 / (1 + (RADIUS / 60) ** 4), 0.0),
    "hot pixels": (np.ones(SHAPE), np.where(HOT, RNG.uniform(300, 3000, SHAPE), 0.0)),
    "warm pixels": (np.ones(SHAPE), np.where(HOT, RNG.uniform(30, 300, SHAPE), 0.0)),
}
PARTIAL = ["faint flat field", "some dust", "faint dust", "small occulter", "vignetting", "hot pixels", "warm pixels"]


def moving(pattern, step, jitter=1.0, *, known=True, frames=14, change=0.0, noise=3.0):
    """Frames of a Sun that moves by ``step`` pixels a frame, known to the headers, and jumps unknown to them.

    Returns the maps and what their headers are off by, in pixels. ``change`` is the part of the scene that another one
    has taken over in the end.
    """
    rng = np.random.default_rng(0)
    scenes = []
    for _ in range(2):
        scene = sum(s * ndimage.gaussian_filter(rng.normal(size=(180, 220)), s) for s in (2, 4, 10))
        scenes.append(scene / scene.std())
    factor, added = PATTERNS[pattern]
    maps, truth = [], []
    for k in range(frames):
        jx, jy = rng.normal(0, jitter, 2)
        angle = change * k / (frames - 1)
        scene = 100 * np.exp(0.6 * (scenes[0] * np.cos(angle) + scenes[1] * np.sin(angle)))
        seen = ndimage.map_coordinates(scene, [ROW + 25 + jy, COLUMN + 25 + step * k + jx], order=3)
        made = small_map(seen * factor + added + rng.normal(0, noise, SHAPE))
        meta = made.meta.copy() | {"date-obs": f"2024-05-01T00:00:{k:02d}", "crval1": 4.0 * step * k * known}
        meta.pop("mjd-obs", None)
        maps.append(sunpy.map.Map(made.data, meta))
        truth.append((jx + (0 if known else step * k), jy))
    return maps, np.array(truth)


def errors(result, truth):
    """Root mean square error of the displacements, and the median of the claimed ones; pixels of 4 arcsec."""
    found = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1) / 4
    left = found - truth
    claimed = np.stack([result.table["shift_x_error"].value, result.table["shift_y_error"].value], axis=1) / 4
    return np.sqrt(np.mean((left - left.mean(axis=0)) ** 2)), np.median(claimed)


@pytest.mark.parametrize(("step", "jitter", "known"), [(0.0, 1.0, True), (0.3, 0.3, True), (0.3, 0.3, False)])
@pytest.mark.parametrize("pattern", PARTIAL)
def test_a_pattern_that_draws_the_frames_part_of_the_way_is_taken_out(pattern, step, jitter, known):
    maps, truth = moving(pattern, step, jitter, known=known)
    result = sunalign.align_sequence(maps, drift="remove")
    error, claimed = errors(result, truth)
    assert result.success
    assert error < 0.03, "pixels"
    assert error < 2 * claimed


@pytest.mark.parametrize("pattern", ["faint flat field", "some dust", "small occulter", "warm pixels"])
def test_a_pattern_that_is_taken_out_is_said(pattern):
    maps, _ = moving(pattern, 0.3, 0.3)
    result = sunalign.align_sequence(maps, drift="remove")
    assert "had drawn the frames by" in result.assumptions["pattern of the detector"]
    assert "pattern of the detector" in result.summary()


def test_hot_pixels_that_last_are_left_out():
    maps, _ = moving("hot pixels", 0.3)
    result = sunalign.align_sequence(maps, drift="remove")
    assert 0.9 * HOT.sum() < int(result.assumptions["hot pixels"].split()[0]) < 1.2 * HOT.sum()


@pytest.mark.parametrize("step", [0.0, 0.3])
@pytest.mark.parametrize("jitter", [0.3, 1.0])
@pytest.mark.parametrize("pattern", ["dust", "occulter"])
def test_frames_that_spots_hold_still_come_loose(pattern, jitter, step):
    maps, truth = moving(pattern, step, jitter)
    result = sunalign.align_sequence(maps, drift="remove")
    error, claimed = errors(result, truth)
    assert result.success
    assert error < min(0.05, claimed)


def test_frames_held_by_the_detector_are_doubted():
    maps, truth = moving("flat field", 0.3)
    with pytest.warns(SunalignUserWarning, match="a scene that moved is left over"):
        result = sunalign.align_sequence(maps, drift="remove")
    assert not result.success
    assert "fixed_patterns.rst" in result.message
    assert errors(result, truth)[0] > 0.5, "pixels: otherwise it would be no fault"


def test_where_plugins_place_the_frames_a_pattern_is_doubted():
    maps, truth = moving("small occulter", 0.3, 0.3, frames=8)
    with pytest.warns(SunalignUserWarning, match="which stay with the detector, draw the frames by"):
        result = sunalign.align_sequence(maps, drift="remove", metric="ncc", optimizer="fft-search")
    error, claimed = errors(result, truth)
    assert error > claimed


@pytest.mark.parametrize(("step", "jitter"), [(0.0, 0.0), (0.0, 0.2), (0.0, 1.0), (0.3, 0.0), (0.8, 0.2)])
@pytest.mark.parametrize("change", [0.0, 1.5])
def test_frames_without_a_pattern_are_not_doubted(step, jitter, change):
    # Warnings are errors.
    result = sunalign.align_sequence(moving("none", step, jitter, change=change)[0], drift="remove")
    assert result.success
    assert "pattern of the detector" not in result.assumptions
    assert "hot pixels" not in result.assumptions


def spots(number, off, moved, *, seed=0):
    """Frames of lone bright points: how far headers are off and the Sun moves over the detector, pixels rms."""
    rng = np.random.default_rng(seed)
    places, heights = rng.uniform(15, 113, (number, 2)), rng.exponential(100, number) + 30
    maps, truth = [], []
    for k in range(12):
        header, sun = rng.normal(0, off, 2), rng.normal(0, moved, 2)
        seen = 20 + rng.normal(0, 2, SHAPE)
        for (y, x), height in zip(places, heights, strict=True):
            seen += height * np.exp(-((ROW - y + sun[1]) ** 2 + (COLUMN - x + sun[0]) ** 2) / 4.5)
        made = small_map(seen)
        x, y = np.array([made.meta["crval1"], made.meta["crval2"]]) + 4 * header
        meta = made.meta.copy() | {"date-obs": f"2024-05-01T00:00:{k:02d}", "crval1": x, "crval2": y}
        meta.pop("mjd-obs", None)
        maps.append(sunpy.map.Map(seen, meta))
        truth.append(sun - header)
    return maps, np.array(truth)


@pytest.mark.parametrize(("off", "moved"), [(3.0, 0.0), (3.0, 1.0), (3.0, 3.0)])
@pytest.mark.parametrize("number", [5, 20, 60])
def test_a_sun_that_stays_while_its_headers_jump_is_no_pattern(number, off, moved):
    # Headers that jump by three pixels are what a sequence is aligned for: bright points are not the detector's.
    maps, truth = spots(number, off, moved)
    result = sunalign.align_sequence(maps, drift="remove")
    error, claimed = errors(result, truth)
    assert result.success
    assert "fixed pattern" not in result.assumptions
    assert error < 1.5 * claimed
    assert error < 0.06, "pixels"


def test_spots_that_stay_while_the_sun_moves_as_its_headers_have_it_are_left_out():
    maps, truth = moving("small occulter", 1.0)
    result = sunalign.align_sequence(maps, drift="remove")
    assert "of the detector stay as they are while the Sun moves" in result.assumptions["fixed pattern"]
    error, claimed = errors(result, truth)
    assert error < min(0.03, claimed)
