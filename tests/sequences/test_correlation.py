"""Where two images correlate best, against displacements that are known."""

import numpy as np
import pytest
from scipy import fft, ndimage

from sunalign.model.intensity import IntensityScaling
from sunalign.sequences._correlation import coarse_peaks, refine
from sunalign.sequences._spectra import Band, Box, spectrum
from sunalign.sequences._working import WorkingImage, binned, working_image

PAD = 24


def pair(shift, seed=0, shape=(96, 80), smoothness=2.0, noise=0.0):
    """Two images; content of the second is displaced by ``shift`` (x, y)."""
    rng = np.random.default_rng(seed)
    wide = tuple(n + 2 * PAD for n in shape)
    scene = fft.rfft2(ndimage.gaussian_filter(rng.normal(size=wide), smoothness, mode="wrap"))
    ky, kx = 2 * np.pi * fft.fftfreq(wide[0])[:, None], 2 * np.pi * fft.rfftfreq(wide[1])
    images = []
    for dx, dy in ((0.0, 0.0), shift):
        data = fft.irfft2(scene * np.exp(-1j * (kx * dx + ky * dy)), wide)[PAD:-PAD, PAD:-PAD]
        images.append(data / data.std() + noise * rng.normal(size=shape))
    return images


def spectra(images, limit=64, offsets=((0.0, 0.0), (0.0, 0.0))):
    ny, nx = images[0].shape
    box = Box(0, 0, nx, ny)
    band = Band.of(box, limit)
    made = [
        spectrum(WorkingImage(image.astype(np.float32), None, np.zeros(2)), (0, 0), box, band, offset)
        for image, offset in zip(images, offsets, strict=True)
    ]
    power = np.sqrt(np.prod([2 * np.sum(np.abs(s) ** 2) for s in made]))
    return (np.conj(made[0]) * made[1])[None], np.array([power]), band


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.61), (-1.25, 0.5), (0.5, 0.5)])
def test_a_displacement_is_found_to_a_small_part_of_a_pixel(shift):
    # The window moves with the scene, as it does where frames have settled.
    cross, power, band = spectra(pair(shift), offsets=((0.0, 0.0), (-shift[0], -shift[1])))
    found = refine(cross, power, band, np.array([shift]).round(), np.array([shift]))
    assert found.found.all()
    assert np.abs(found.shift[0] - shift).max() < 0.004
    assert found.score[0] > 0.9


def test_errors_are_as_large_as_they_claim():
    scaled = []
    for seed in range(40):
        shift = np.random.default_rng([seed, 1]).uniform(-0.5, 0.5, 2)
        cross, power, band = spectra(pair(shift, seed, noise=0.5))
        found = refine(cross, power, band, np.zeros((1, 2)))
        scaled.append((found.shift[0] - shift) / np.sqrt(np.diag(found.covariance[0])))
    assert np.std(scaled) == pytest.approx(1.05, abs=0.2)


@pytest.mark.parametrize("shift", [(11.0, -7.0), (-16.0, 3.0)])
def test_a_large_displacement_is_sought_on_whole_pixels(shift):
    cross, _, band = spectra(pair(shift), limit=32)
    found, lead = coarse_peaks(cross, band, (24.0, 24.0))
    assert np.abs(found[0] - shift).max() < 2.5
    assert lead[0] > 2
    # Nothing beyond the limits is looked at.
    assert np.abs(coarse_peaks(cross, band, (5.0, 5.0))[0]).max() <= 5


def test_many_pairs_at_once_are_as_one_by_one():
    shifts = np.random.default_rng(0).uniform(-1, 1, size=(5, 2))
    parts = [spectra(pair(shift, seed)) for seed, shift in enumerate(shifts)]
    band = parts[0][2]
    whole = refine(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), band, np.zeros((5, 2)))
    for k, (cross, power, _) in enumerate(parts):
        one = refine(cross, power, band, np.zeros((1, 2)))
        assert np.allclose(one.shift[0], whole.shift[k], atol=1e-5)


def test_bins_are_means():
    data = np.random.default_rng(0).normal(size=(13, 17))
    expected = data[:12, :15].reshape(4, 3, 5, 3).mean(axis=(1, 3))
    assert np.allclose(binned(data, 3), expected)


def test_a_working_image_knows_no_exposure_and_no_nan():
    data = 100 + 20 * pair((0, 0))[0]
    one = working_image(data, None, 2, IntensityScaling())
    other = working_image(7.5 * data, None, 2, IntensityScaling())
    assert np.allclose(one.data, other.data, atol=1e-4)
    data[30:33, 40:44] = np.nan
    mended = working_image(data, None, 2, IntensityScaling())
    assert mended.valid is None
    assert np.isfinite(mended.data).all()
    data[:, :30] = np.nan
    assert working_image(data, None, 2, IntensityScaling()).valid is not None
