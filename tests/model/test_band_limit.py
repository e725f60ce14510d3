"""What the noise of a reference, and a spline between its pixels, ask both images to be smoothed by."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import minimize_scalar

from sunalign.model.band_limit import WIDTHS, Spectrum, band_limit
from sunalign.model.interpolation import SplineImage
from sunalign.testing.helpers import smooth_image


def sun(shape, seed=0, level=100.0):
    """A smooth positive image of this mean."""
    image = smooth_image(shape, seed=seed, smoothness=2.5)
    image = image - image.min()
    return image * (level / image.mean()) + 0.1 * level


def test_the_spectrum_tells_noise_from_structure():
    truth = sun((256, 256)) / 20
    noisy = truth + np.random.default_rng(3).normal(0, 0.5, truth.shape)
    spectrum = Spectrum.of([noisy])
    assert spectrum.noise == pytest.approx(0.25, rel=0.05)
    assert Spectrum.of([truth]).noise < 1e-3 * truth.var()


def test_noise_is_smoothed_and_its_absence_is_not():
    truth, rng = sun((256, 256)), np.random.default_rng(4)
    assert band_limit([truth], truth, truth.size).width == 0
    widths = [
        band_limit([truth + rng.normal(0, s, truth.shape)], truth + rng.normal(0, s, truth.shape), truth.size).width
        for s in (3.0, 30.0, 100.0)
    ]
    assert widths == sorted(widths)
    assert 0 < widths[0] <= widths[-1] <= max(WIDTHS)


@pytest.mark.parametrize("seed", range(6))
def test_where_a_spectrum_shows_nothing_but_noise_the_widest_is_taken(seed):
    """Half of all images of noise seem to have no structure; taken for clean, they would pull with all their noise."""
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=(64, 64)) for _ in range(2)]
    limit = band_limit(images[:1], images[1], 64 * 64)
    drowned = min(Spectrum.of([image]).structure for image in images) == 0
    assert limit.pull > 0.1
    assert limit.pull <= 12**-0.5
    if drowned:
        assert limit.width == WIDTHS[-1]


def test_large_pixels_have_no_more_noise_than_the_small_ones_they_are_made_of():
    rng = np.random.default_rng(3)
    sharp = ndimage.gaussian_filter(rng.normal(size=(512, 512)), 1.2)
    sharp /= sharp.std()
    noise = 0.02 * rng.normal(size=sharp.shape)
    fine = sharp + noise
    coarse = fine.reshape(256, 2, 256, 2).mean((1, 3))
    known = band_limit([fine], fine, fine.size).noise
    assert known == pytest.approx(4e-4, rel=0.2)
    alone, told = (band_limit([coarse], coarse, coarse.size, most_noise=most) for most in (np.inf, known / 4))
    # Structure beyond what large pixels can hold looks like noise.
    assert alone.noise > 3 * told.noise
    assert told.noise == known / 4
    assert told.width == alone.width
    # Only noise pulls by its power; what the spline does to structure comes on top.
    spline = band_limit([coarse], coarse, coarse.size, most_noise=0.0).pull
    assert told.pull - spline == pytest.approx((alone.pull - spline) * told.noise / alone.noise)
    assert 0 < spline < told.pull


def test_grids_out_of_step_are_not_pulled():
    truth, rng = sun((256, 256)), np.random.default_rng(4)
    noisy = truth + rng.normal(0, 3.0, truth.shape)
    in_step = band_limit([noisy], truth, truth.size, in_step=1.0)
    out_of_step = band_limit([noisy], truth, truth.size, in_step=0.0)
    assert out_of_step.width < in_step.width
    # What is left sharp would be pulled the more, if the answer puts the grids in step after all.
    assert out_of_step.pull > 3 * in_step.pull


@pytest.mark.parametrize("width", [1.0, 1.3, 1.6])
def test_a_spline_pulls_fine_structure_towards_half_pixels_as_far_as_is_claimed(width):
    rng, n, true = np.random.default_rng(8), 256, 0.25
    waves = 2j * np.pi * np.fft.fftfreq(n)
    reference = ndimage.gaussian_filter(rng.normal(size=(n, n)), width, mode="wrap")
    target = np.fft.ifft2(np.fft.fft2(reference) * np.exp(waves * true)).real
    spline, inner = SplineImage(reference), np.arange(20.0, n - 20)
    inside = target[20:-20, 20:-20]

    def against(shift):
        return -np.corrcoef(spline.sample_separable(inner + shift, inner).ravel(), inside.ravel())[0, 1]

    pulled = minimize_scalar(against, bracket=(0.2, 0.3), tol=1e-9).x - true
    claimed = band_limit([reference], target, target.size, widths=(0.0,)).pull
    # A sine of the phase, at its top; the claim is 1 sigma over all phases.
    assert pulled == pytest.approx(np.sqrt(2) * claimed, rel=0.15)
    assert pulled > 0


def test_images_are_smoothed_where_the_spline_would_pull_them():
    rng = np.random.default_rng(2)
    grainy, smooth = (ndimage.gaussian_filter(rng.normal(size=(256, 256)), s, mode="wrap") for s in (0.7, 2.0))
    limits = [band_limit([image], image, image.size) for image in (grainy, smooth)]
    assert limits[0].width > 0
    assert limits[0].pull < band_limit([grainy], grainy, grainy.size, widths=(0.0,)).pull / 3
    assert limits[1].width == 0
    # Nor where the pixels of the target fall everywhere between the reference's.
    assert band_limit([grainy], grainy, grainy.size, in_step=0.0).width == 0


@pytest.mark.parametrize("period", [3.0, 6.0, 7.3, 31.0])
@pytest.mark.parametrize("wave", [np.sin, lambda phase: np.sign(np.sin(phase))], ids=["sine", "squares"])
def test_a_scene_that_repeats_itself_has_a_width_too(period, wave):
    y, x = np.mgrid[:128, :128] * (2 * np.pi / period)
    for image in (wave(x) * wave(y), wave(x), wave(x + y)):
        limit = band_limit([image], image, image.size)
        assert limit.width in WIDTHS
        assert 0 <= limit.pull <= 12**-0.5
