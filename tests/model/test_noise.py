"""What noise of the reference does to the answer, and what is done about it."""

from functools import lru_cache

import numpy as np
import pytest

import astropy.units as u

import sunpy.map

import sunalign
from sunalign import simulate
from sunalign.model.hot_pixels import hot_pixels
from sunalign.model.intensity import IntensityScaling
from sunalign.model.noise import NoiseModel, noise_model
from sunalign.model.reference_contract import Reference
from sunalign.reference_builders import Carrington, ImageBuilder, SyntheticRaster
from sunalign.simulate import PointingError
from sunalign.testing.checks_reference_builder import _built as built_of
from sunalign.testing.helpers import smooth_image

PIXEL = 4.44
PSF = 1.5 * PIXEL * u.arcsec
SCENE = simulate.Scene(seed=3, extent=(40 * u.deg, 44 * u.deg))


def sun(shape, seed=0, level=100.0):
    """A smooth positive image of this mean."""
    image = smooth_image(shape, seed=seed, smoothness=2.5)
    image = image - image.min()
    return image * (level / image.mean()) + 0.1 * level


@pytest.mark.parametrize(("read", "gain"), [(4.0, 0.0), (0.0, 1.0), (9.0, 0.5)])
def test_the_noise_is_measured(read, gain):
    rng = np.random.default_rng(2)
    truth = sun((300, 300))
    noisy = rng.poisson(truth / gain) * gain if gain else truth
    noisy = noisy + rng.normal(0, np.sqrt(read), truth.shape)
    found = noise_model([noisy])
    levels = np.percentile(truth, [10, 50, 90])
    np.testing.assert_allclose(found.variance(levels), read + gain * levels, rtol=0.15)


def spoiled(seed, share=0.012):
    rng = np.random.default_rng(seed)
    truth = sun((200, 200), seed)
    clean = rng.poisson(truth) + rng.normal(0, 1, truth.shape)
    hit = rng.random(truth.shape) < share
    hit[[0, -1]], hit[:, [0, -1]] = False, False
    return clean, hit, np.where(hit, clean + np.ptp(truth) * 10 ** rng.uniform(0, 2, truth.shape), clean)


def test_hot_pixels_are_found_and_little_else():
    clean, hit, image = spoiled(5)
    found = hot_pixels(image)
    assert found[hit].mean() > 0.95
    assert np.count_nonzero(found & ~hit) <= 2
    assert np.count_nonzero(hot_pixels(clean)) <= 2


def test_dead_pixels_are_found():
    image = sun((120, 120)) + np.random.default_rng(0).normal(0, 1, (120, 120))
    image[40, 50] = image[90, 20] = -300.0
    assert sorted(zip(*np.nonzero(hot_pixels(image)), strict=True)) == [(40, 50), (90, 20)]


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 3.0])
def test_bright_points_as_wide_as_the_beam_are_the_sun(fwhm):
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:200, :200]
    image = sun((200, 200))
    for _ in range(60):
        cy, cx = rng.uniform(5, 195, 2)
        image += 3000 * np.exp(-4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / fwhm**2)
    assert not hot_pixels(image).any()
    assert not hot_pixels(rng.poisson(image).astype(float)).any()


def test_single_photons_are_no_hot_pixels():
    image = np.random.default_rng(7).poisson(np.full((200, 200), 0.1)).astype(float)
    assert not hot_pixels(image).any()


def test_what_is_simulated_clean_is_left_alone():
    pair = simulate.raster_pair(1, n_steps=32, n_slit=200, snr=None, reference={"photons": None})
    result = sunalign.align(pair.target, pair.reference, on_doubt="ignore")
    assert not any("hot" in key for key in result.assumptions)
    assert "reference smoothing" not in result.assumptions


@pytest.mark.parametrize("stretch", ["sqrt", "log"])
def test_no_stretch_makes_more_of_the_noise_in_the_dark(stretch):
    rng = np.random.default_rng(8)
    levels = np.array([1.0, 3.0, 10.0, 30.0, 100.0])
    noisy = rng.poisson(levels[:, None], (5, 20000)) + rng.normal(0, 1.0, (5, 20000))
    transform = IntensityScaling(stretch=stretch, clip=None).fit(noisy, NoiseModel(read=1.0, gain=1.0))
    spread = transform(noisy).std(axis=1)
    # The square root of photons alone has a spread of a half; without a floor the logarithm's would be above 1.
    assert spread.max() < 0.52
    assert spread[-1] == pytest.approx(0.5 if stretch == "sqrt" else 0.1 / np.log(10), rel=0.05)


def test_without_noise_the_square_root_is_the_square_root():
    values = np.linspace(0, 9, 10)
    transform = IntensityScaling(clip=None).fit(values, NoiseModel())
    np.testing.assert_allclose(transform(values), np.sqrt(values))


@pytest.mark.parametrize("builder", [ImageBuilder(), SyntheticRaster(), Carrington()], ids=lambda b: type(b).__name__)
def test_every_reference_is_smoothed_alike(builder):
    """Its own pixels are, at every resolution, and whatever else is done to it."""
    rng = np.random.default_rng(9)
    reference = built_of(builder)[0].scaled(lambda data: rng.normal(size=data.shape))
    smooth = reference.smoothed(1.0)
    assert all(part.smoothing == 1.0 for part in (smooth, smooth.binned(2), smooth.mapped(np.negative)))
    assert smooth.smoothed(0.0).smoothing == reference.smoothing == 0.0
    x, y = np.meshgrid(np.arange(10.0, 30), np.arange(10.0, 30))
    sharp = reference.sample(x, y)
    np.testing.assert_array_equal(smooth.smoothed(0.0).sample(x, y), sharp)
    # White noise keeps 1 / (4 pi) of its variance.
    for coarse in (1, 2):
        ratio = np.nanvar(smooth.binned(coarse).sample(x, y)) / np.nanvar(reference.binned(coarse).sample(x, y))
        assert 0.03 < ratio < 0.3
    at = reference.positions(x, y, x)
    assert at is not None
    assert all(np.isfinite(p).any() for p in at)


def test_a_reference_without_pixels_is_left_alone():
    class Plain(Reference):
        def sample(self, x, y, columns=None):
            return np.sin(x) + np.cos(y)

    plain = Plain()
    assert len(plain.arrays()) == 0
    assert plain.smoothed(1.0) is plain.mapped(np.negative) is plain
    assert plain.positions(np.zeros(2), np.zeros(2)) is None


def test_hot_pixels_do_not_hold_the_answer():
    """Those of the reference stay with its detector; nothing else says where the target is."""
    result = errors_at(0.3, 7.0, 2)[2]
    rng = np.random.default_rng(2)
    *_, spoilt = errors_at(0.3, 7.0, 2, spoil=lambda data: spoilt_data(data, rng))
    found = [int(spoilt.assumptions[f"hot pixels of the {word}"].split()[0]) for word in ("target", "reference")]
    assert min(found) > 100
    change = spoilt.correction.shift_x - result.correction.shift_x
    assert (
        abs(change) < 3 * np.hypot(spoilt.correction.errors["shift_x"], result.correction.errors["shift_x"]) * u.arcsec
    )


def spoilt_data(data, rng):
    data = np.array(data)
    hit = rng.random(data.shape) < 0.012
    data[hit] += np.ptp(data) * 10 ** rng.uniform(0, 2, int(hit.sum()))
    return data


@lru_cache(maxsize=10)
def scene_of(seed):
    return simulate.Scene(seed=seed, extent=(40 * u.deg, 44 * u.deg))


def errors_at(phase, snr, seed, *, scaling="sqrt", shape=(128, 128), spoil=None, scene=SCENE):
    """Found less true shift in pixels, and both over the claim, with one instrument and header, and noise in both."""
    shift = np.array([2 + phase, -3 - phase]) * PIXEL
    # A wrong header alone would leave the pixels of both on each other.
    centre = np.array([40, -30]) * u.arcsec
    pair = simulate.image_pair(
        seed,
        scene=scene,
        shape=shape,
        scale=PIXEL * u.arcsec,
        roll=0 * u.deg,
        snr=snr,
        center=tuple(centre + shift * u.arcsec),
        psf_fwhm=PSF,
        error=PointingError(shift_x=shift[0] * u.arcsec, shift_y=shift[1] * u.arcsec),
        reference={"photons": snr**2, "center": tuple(centre), "psf_fwhm": PSF},
        rng=[seed, 21],
    )
    target, reference = pair.target, pair.reference
    if spoil is not None:
        target, reference = (sunpy.map.Map(spoil(m.data), m.meta) for m in (target, reference))
    result = sunalign.align(target, reference, scaling=scaling, on_doubt="ignore")
    found = result.correction
    off = np.array([found.shift_x.value, found.shift_y.value]) - shift
    return off / PIXEL, off / [found.errors["shift_x"], found.errors["shift_y"]], result


def test_the_smoothing_is_said():
    *_, result = errors_at(0.3, 3.0, 0)
    assert "px" in result.assumptions["reference smoothing"]
    assert result.score == pytest.approx(
        result.problem.score([result.correction.parameters[n] for n in result.space.names])
    )


@pytest.mark.parametrize("scaling", ["sqrt", "linear", "log"])
def test_a_noisy_reference_does_not_pull(scaling):
    phases = [0.1, 0.3, 0.4, 0.6, 0.7, 0.9]
    off = np.array([errors_at(phase, 3.0, k, scaling=scaling)[0] for k, phase in enumerate(phases)])
    # x moves by +phase and y by -phase: what pulls to half pixels pulls them apart.
    pull = (off * [1, -1]).T @ np.sin(2 * np.pi * np.array(phases)) / (len(phases) / 2)
    # Without smoothing it is 0.1 to 0.2 with any of them.
    assert np.all(np.abs(pull) < (0.03 if scaling == "log" else 0.015)), pull


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["sqrt", "linear", "log"])
@pytest.mark.parametrize("snr", [30.0, 10.0, 5.0, 3.0, 2.0])
@pytest.mark.parametrize("shape", [(128, 128), (800, 800)], ids=["level 1", "level 2"])
def test_no_pull_at_any_phase_and_errors_that_hold(snr, scaling, shape):
    phases = np.tile(np.arange(0, 1, 0.1), 4 if shape[0] < 500 else 1)
    # What is left at a high S/N hangs on the structure.
    scenes = [scene_of((k + k // 10) % 10) for k in range(len(phases))]
    found = [
        errors_at(phase, snr, k, scaling=scaling, shape=shape, scene=scene)[:2]
        for k, (phase, scene) in enumerate(zip(phases, scenes, strict=True))
    ]
    off, ratio = (np.array(values) for values in zip(*found, strict=True))
    pull = (off * [1, -1]).T @ np.sin(2 * np.pi * phases) / (len(phases) / 2)
    noise = 2 * off.std() / np.sqrt(len(phases))
    assert np.all(np.abs(pull) < (0.02 if snr == 2 else 0.01) + 2 * noise), pull
    least = 0.8 - 1 / np.sqrt(len(phases))
    assert least < ratio.std() < 1.3 + 1 / np.sqrt(len(phases)), ratio.std()
