"""Patterns of a detector that hold an answer part of the way: each is doubted, or in the error that is claimed."""

import numpy as np
import pytest
from scipy import ndimage

import astropy.units as u

import sunalign
from sunalign.testing.helpers import small_map

PIXEL = 4.0  # arcsec, those of a small map.
SIZE = 144


def frames(moved, sensitivity=1.0, *, snr=20.0, seed=0, sizes=(2, 5, 12)):
    """Target and reference of a Sun that is (column, row) pixels further on in the target."""
    rng, n = np.random.default_rng(seed), 256
    structure = sum(s * ndimage.gaussian_filter(rng.normal(size=(n, n)), s, mode="wrap") for s in sizes)
    structure *= 0.6 / structure.std()
    images = []
    for column, row in (moved, (0, 0)):
        there = ndimage.fourier_shift(np.fft.fft2(structure), (row, column))
        seen = 100 * np.exp(np.fft.ifft2(there).real[40 : 40 + SIZE, 40 : 40 + SIZE]) * sensitivity
        images.append(seen + np.sqrt(100 * seen) / snr * rng.normal(size=seen.shape))
    return [small_map(image) for image in images]


def _grains(rng, width):
    grains = ndimage.gaussian_filter((rng.random((SIZE, SIZE)) < 0.01).astype(float), width)
    return 1 - 0.6 * np.minimum(grains * 2 * np.pi * width**2, 1)


def _flat(rng, width):
    smooth = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), width, mode="wrap")
    return np.maximum(1 + 0.3 * smooth / smooth.std(), 0.05)


Y, X = np.mgrid[:SIZE, :SIZE]
PATTERNS = {
    "dust": lambda rng: _grains(rng, 2.0),
    "discs": lambda rng: np.where(ndimage.binary_dilation(rng.random(X.shape) < 0.004, iterations=3), 0.5, 1.0),
    "occulter": lambda rng: np.where(np.hypot(X - 20, Y - 30) < 55, 0.3, 1.0),
    "squares of 8": lambda rng: 1 + 0.3 * (2 * ((X // 8 + Y // 8) % 2) - 1),
    "squares of 16": lambda rng: 1 + 0.5 * (2 * ((X // 16 + Y // 16) % 2) - 1),
    "squares of 32": lambda rng: 1 + 0.5 * (2 * ((X // 32 + Y // 32) % 2) - 1),
    "flat field of 2": lambda rng: _flat(rng, 2.0),
    "flat field of 4": lambda rng: _flat(rng, 4.0),
    "flat field of 8": lambda rng: _flat(rng, 8.0),
    "column": lambda rng: 1 + 1.5 * ((X >= 60) & (X < 63)),
    "frame": lambda rng: np.where(np.minimum.reduce([X, Y, SIZE - 1 - X, SIZE - 1 - Y]) < 6, 0.3, 1.0),
    "fringes": lambda rng: 1 + 0.4 * np.cos(2 * np.pi / 12 * (0.8 * X + 0.6 * Y)),
}


def off(result, moved):
    """Pixels by which both shifts are wrong, and what is claimed of them."""
    names = ("shift_x", "shift_y")
    shifts, errors = ([values[n] for n in names] for values in (result.correction.parameters, result.correction.errors))
    return np.abs(np.array(shifts) / PIXEL + moved), np.array(errors) / PIXEL


@pytest.mark.parametrize("moved", [(0.3, -0.2), (0.5, 0.0), (-0.7, 0.7), (2.0, 1.0), (0.0, 6.0)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_holds_an_answer_in_silence(pattern, moved):
    sensitivity = PATTERNS[pattern](np.random.default_rng(1))
    result = sunalign.align(*frames(moved, sensitivity), max_shift=60 * u.arcsec, on_doubt="ignore")
    wrong, claimed = off(result, moved)
    assert not result.success or (wrong < np.maximum(4 * claimed, 0.06)).all(), (wrong, claimed)


def test_an_answer_that_is_held_says_how_far_the_scene_is():
    target, reference = frames((2.0, 1.0), PATTERNS["squares of 16"](None))
    result = sunalign.align(target, reference, on_doubt="ignore")
    wrong, _ = off(result, (2.0, 1.0))
    assert result.quality.beside_pattern == pytest.approx(np.hypot(*wrong), rel=0.2)
    assert "a pattern that stays with the detector" in result.message


@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.3, -0.2), (0.5, 0.5), (6.0, -3.3)])
@pytest.mark.parametrize("snr", [3, 20, 100])
def test_without_a_pattern_nothing_is_doubted_or_added_to_errors(moved, snr):
    for seed in range(2):
        result = sunalign.align(*frames(moved, snr=snr, seed=seed), max_shift=60 * u.arcsec)
        assert result.success
        assert result.quality.beside_pattern == 0
        wrong, claimed = off(result, moved)
        assert (wrong < 4.5 * claimed + 0.002).all()


def test_a_scene_that_stays_is_not_doubted_for_what_stays_with_it():
    for name, pattern in PATTERNS.items():
        result = sunalign.align(*frames((0.0, 0.0), pattern(np.random.default_rng(1))))
        assert result.success, name
        assert result.quality.beside_pattern < 0.05, name


@pytest.mark.parametrize("moved", [(6.0, 2.0), (2.0, 5.6)])
def test_an_answer_between_pattern_and_scene_that_looks_stretched_is_doubted(moved):
    """Grids that are stretched against each other have no pixels in common; as their headers have them, they have."""
    target, reference = frames(moved, PATTERNS["squares of 16"](None), seed=11)
    result = sunalign.align(target, reference, fit=("shift", "scale", "rotation"), on_doubt="ignore")
    wrong, _ = off(result, moved)
    assert wrong.max() > 1
    found = result.correction
    assert abs(found.scale_y - 1) + abs(found.scale_x - 1) + abs(found.rotation.to_value(u.rad)) > 1 / SIZE
    assert result.quality.fixed_pattern > 0.25
    assert not result.success


@pytest.mark.parametrize(
    ("share", "gaps_in"), [(0.05, "target"), (0.05, "reference"), (0.05, "both"), (0.3, "target")], ids=str
)
def test_gaps_that_stay_where_they_are_are_no_pattern(share, gaps_in):
    moved, rng = (3.3, -2.4), np.random.default_rng(3)
    target, reference = frames(moved)
    missing = rng.random(target.data.shape) < share
    masks = {name: missing for name in ("target", "reference") if gaps_in in (name, "both")}
    result = sunalign.align(
        target, reference, max_shift=60 * u.arcsec, **{f"{name}_mask": mask for name, mask in masks.items()}
    )
    assert result.quality.beside_pattern == 0
    wrong, claimed = off(result, moved)
    assert (wrong < 4.5 * claimed + 0.002).all()
    # Gaps that were filled in were taken for a pattern, by half a pixel.
    assert (claimed < 0.05).all()
