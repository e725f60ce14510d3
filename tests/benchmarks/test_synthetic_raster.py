"""A raster of 192 steps of 830 pixels out of 30 frames of 3072² in memory."""

import numpy as np
import pytest

import astropy.units as u
from astropy.time import Time

import sunpy.map

from sunalign import simulate
from sunalign.images import to_image
from sunalign.reference_builders import SyntheticRaster

START = Time("2024-10-17T00:00:00")
CADENCE = 90 * u.s


@pytest.fixture(scope="module")
def target_and_frames():
    orbit = simulate.Orbit(dsun=0.3 * u.AU, hgln=0 * u.deg, hglt=0 * u.deg, time=START, hgln_rate=6 * u.deg / u.day)
    scene = simulate.Scene(seed=1, contrast=0)
    target = simulate.raster(
        scene, n_steps=192, n_slit=830, step=4 * u.arcsec, observer=orbit, start=START, cadence=CADENCE
    ).target
    pixels = np.random.default_rng(0).random((3072, 3072)).astype(np.float32)
    frames = []
    for k in range(30):
        time = START + (k + 0.5) / 30 * 192 * CADENCE
        small = simulate.imager(
            scene, center=(0, 0) * u.arcsec, shape=(8, 8), scale=4.44 * u.arcsec, observer=orbit, time=time
        )
        header = dict(small.meta) | {"crpix1": 1536.5, "crpix2": 1536.5}
        frames.append(sunpy.map.Map(pixels, header))
    return to_image(target), frames


def test_first_sampling(benchmark, target_and_frames):
    """With the cropping and the splines of all frames."""
    target, frames = target_and_frames
    columns = np.arange(192.0)

    def build():
        built = SyntheticRaster().build(frames, target).within(100 / 206265)
        return (built,), {}

    benchmark.pedantic(
        lambda built: built.sample_grid(np.eye(3), target.grid.shape, columns), setup=build, rounds=5, warmup_rounds=1
    )


@pytest.mark.parametrize("solar_rotation", ["differential", "none"])
def test_sampling(benchmark, target_and_frames, solar_rotation):
    target, frames = target_and_frames
    columns = np.arange(192.0)
    built = SyntheticRaster(solar_rotation=solar_rotation).build(frames, target).within(100 / 206265)
    sampled = benchmark(built.sample_grid, np.eye(3), target.grid.shape, columns)
    assert np.isfinite(sampled).mean() > 0.9
