"""Claimed errors against actual ones, over noise."""

import numpy as np
import pytest
from scipy import ndimage

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError
from sunalign.testing.helpers import small_map

ERROR = PointingError(shift_x=14 * u.arcsec, shift_y=-23 * u.arcsec, scale_x=1.02, scale_y=0.99, rotation=0.3 * u.deg)
NAMES = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")


def normalised_errors(n, **options):
    """(found - true) / claimed, shape (n, 5), over noise, pointing and a dozen scenes."""
    rng = np.random.default_rng(0)
    scenes = [simulate.Scene(seed=k, extent=(40 * u.deg, 44 * u.deg)) for k in range(12)]
    ratios = []
    for k in range(n):
        true = np.concatenate([rng.uniform(-30, 30, 2), rng.uniform(0.97, 1.03, 2), rng.uniform(-0.5, 0.5, 1)])
        units = (u.arcsec, u.arcsec, 1, 1, u.deg)
        error = PointingError(**{name: value * unit for name, value, unit in zip(NAMES, true, units, strict=True)})
        pair = simulate.raster_pair(k, scene=scenes[k % 12], error=error, n_steps=64, n_slit=420, rng=[4, k], **options)
        found = sunalign.align(
            pair.target, pair.reference, fit=("shift", "scale", "rotation"), on_doubt="ignore"
        ).correction
        ratios.append((np.array(list(found.parameters.values())) - true) / [found.errors[name] for name in NAMES])
    return np.array(ratios)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"snr": 8.0},
        {"snr": 3.0},
        {"snr": 8.0, "relation": "power"},
        {"snr": 8.0, "mismatch": 0.55, "mismatch_scale": 10 * u.arcsec},
    ],
    ids=["white noise, S/N 8", "white noise, S/N 3", "another relation", "structured mismatch"],
)
def test_errors_are_as_large_as_they_claim(options):
    spread = normalised_errors(216, **options).std(axis=0)
    assert np.all((spread > 0.8) & (spread < 1.3)), spread


def test_errors_grow_with_the_noise():
    def claimed(snr):
        pair = simulate.raster_pair(6, error=ERROR, n_steps=48, n_slit=300, snr=snr)
        return sunalign.align(pair.target, pair.reference, fit=("shift", "scale", "rotation")).correction.errors

    quiet, noisy = claimed(8.0), claimed(1.0)
    assert all(noisy[name] > 1.5 * quiet[name] for name in quiet), (quiet, noisy)


def moved_texture(rng, size, width, reach, snr=100):
    """Two images of one texture, the second moved; by how many pixels along x and y."""
    waves = 2j * np.pi * np.fft.fftfreq(size)
    texture = ndimage.gaussian_filter(rng.normal(size=(size, size)), width, mode="wrap")
    sun, (x, y) = np.exp(0.7 * texture / texture.std()), rng.uniform(-reach, reach, 2)
    moved = np.fft.ifft2(np.fft.fft2(sun) * np.exp(waves * x + waves[:, None] * y)).real
    inside = slice(16, size - 16)
    images = [100 * image[inside, inside] for image in (moved, sun)]
    return [image + rng.normal(0, 100 / snr, image.shape) for image in images], np.array([x, y])


def errors_of(found, true):
    """Errors of both shifts, and over the claims, in pixels of 4 arcsec."""
    off = np.array([found.shift_x.value, found.shift_y.value]) / 4 - true
    return off, off / (np.array([found.errors["shift_x"], found.errors["shift_y"]]) / 4)


def test_half_resolution_costs_large_images_nothing():
    rng, found = np.random.default_rng(1), []
    for _ in range(8):
        images, true = moved_texture(rng, 760, 1.2, 4)
        found.append(errors_of(sunalign.align(*map(small_map, images)).correction, true))
    errors, ratios = np.array(found).swapaxes(0, 1)
    # Of pixels as they were given: binned first, such grains are off by 0.0025.
    assert np.sqrt(np.mean(errors**2)) < 5e-4
    assert 0.5 < np.sqrt(np.mean(ratios**2)) < 1.6


@pytest.mark.parametrize("size", [700, 780])
@pytest.mark.parametrize("missing", ["rows", "columns", "tenth rows", "pixels", "border"])
def test_gaps_move_no_answer_at_any_size(size, missing):
    rng = np.random.default_rng(4)
    (target, reference), true = moved_texture(rng, size, 2.0, 3)
    gaps = {
        "rows": np.s_[::2],
        "columns": np.s_[:, 1::2],
        "tenth rows": np.s_[::10],
        "pixels": rng.random(target.shape) < 0.3,
        "border": np.s_[:, :90],
    }
    target[gaps[missing]] = np.nan
    error, ratio = errors_of(
        sunalign.align(small_map(target), small_map(reference), on_doubt="ignore").correction, true
    )
    # Half a pixel, where rows were left out of means over two.
    assert np.abs(error).max() < 2e-3
    assert np.abs(ratio).max() < 4


def test_gaps_move_no_answer_where_pixels_are_binned_to_the_references():
    (target, reference), true = moved_texture(np.random.default_rng(4), 320, 3.0, 3)
    coarse = small_map(reference.reshape(144, 2, 144, 2).mean(axis=(1, 3)), scale=8)
    target[::2] = np.nan
    error, _ = errors_of(sunalign.align(small_map(target), coarse, on_doubt="ignore").correction, true)
    assert np.abs(error).max() < 0.02


@pytest.mark.parametrize("where", [{"roll": 0.35}, {"scale": 4.04}], ids=["rolled", "scaled"])
def test_errors_hold_where_grids_are_in_step_but_for_their_headers(where):
    rng, ratios = np.random.default_rng(2), []
    for _ in range(8):
        images, true = moved_texture(rng, 192, 1.0, 0.4, snr=20)
        target, reference = small_map(images[0], **where), small_map(images[1])
        found = sunalign.align(target, reference, fit=("shift", "scale", "rotation"))
        ratios.append(errors_of(found.correction, true)[1])
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 1.6


@pytest.mark.parametrize("optimizer", ["coarse-to-fine", "levenberg-marquardt"])
def test_a_small_motion_is_not_held_by_what_the_header_says(optimizer):
    """Of two images of one field the start has a row of sky more to compare than anything beside it."""
    rng, found, held = np.random.default_rng(6), [], 0
    y, x = np.indices((200, 200)) - 99.5
    disc = np.exp(-((np.hypot(x, y) / 84) ** 4))
    for _ in range(8):
        images, true = moved_texture(rng, 232, 2.0, 0.03, snr=np.inf)
        images = [image * disc for image in images]
        images = [image + 4 * np.sqrt(image + 0.01) * rng.normal(size=image.shape) for image in images]
        result = sunalign.align(*map(small_map, images), optimizer=optimizer, on_doubt="ignore")
        found.append(errors_of(result.correction, true))
        held += not (found[-1][0] + true).all()
    # All of them were exactly where the header says.
    assert held <= 1
    assert 0.4 < np.sqrt(np.mean(np.array(found)[:, 1] ** 2)) < 1.6


def test_error_bars_are_in_repr_and_json():
    pair = simulate.raster_pair(4, error=ERROR, n_steps=32, n_slit=200)
    result = sunalign.align(pair.target, pair.reference, fit="shift")
    assert "±" in repr(result.correction)
    assert set(result.to_dict()["correction"]["errors"]) == {"shift_x", "shift_y"}
    assert np.shape(result.correction.covariance) == (2, 2)
    assert "+/-" in result.aligned.meta["history"]
