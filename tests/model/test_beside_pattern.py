"""Where the scene is, once what stays with the detector is fitted beside it."""

import numpy as np
import pytest
from scipy import ndimage

from sunalign.model.beside_pattern import beside_pattern
from sunalign.testing.helpers import smooth_image

WIDE = sum(smooth_image((208, 208), seed=seed, smoothness=s) for seed, s in enumerate((1.5, 3.0, 8.0)))
STILL = np.zeros(2)


def scene(column=0.0, row=0.0):
    """What is seen where everything lies (column, row) pixels further on than in `WIDE`."""
    return ndimage.shift(WIDE, (row, column), order=5, mode="wrap")[32:176, 32:176]


def noisy(*images, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return [image + noise * WIDE.std() * rng.normal(size=image.shape) for image in images]


def dust(shape, rng):
    grains = ndimage.gaussian_filter((rng.random(shape) < 0.01).astype(float), 2.0)
    return 1 - 0.6 * np.minimum(grains / 0.04, 1)


def discs(shape, rng):
    return np.where(ndimage.binary_dilation(rng.random(shape) < 0.004, iterations=3), 0.5, 1.0)


def flat_field(shape, rng):
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 4.0)
    return 1 + 0.25 * smooth / smooth.std()


def checkerboard(shape, rng):
    y, x = np.indices(shape)
    return 1 + 0.4 * (2 * ((x // 8 + y // 8) % 2) - 1)


PATTERNS = [dust, discs, flat_field, checkerboard]


@pytest.mark.parametrize("moved", [(0.5, -0.3), (1.0, 0.0), (-0.6, 2.0)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_beside_it_does_not_hide_where_the_scene_went(pattern, moved):
    sensitivity = pattern((144, 144), np.random.default_rng(3))
    reference, target = noisy(scene() * sensitivity, scene(*moved) * sensitivity)
    # Structure at p of the target is at p - moved of the reference; half of the way is what a pattern makes of it.
    whole = -np.rint(np.array(moved) / 2)
    aligned = ndimage.shift(reference, -whole[::-1], order=0, cval=np.nan)
    answer = -np.array(moved) / 2
    found = beside_pattern(aligned, target, answer - whole, -whole)
    assert found == pytest.approx(np.hypot(*moved) / 2, rel=0.35)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("noise", "chance"), [(0.02, 0.02), (0.3, 0.1)])
@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.1, 0.0), (0.3, -0.4), (-0.5, 0.5)])
def test_without_a_pattern_the_scene_is_where_the_answer_is(moved, noise, chance, seed):
    reference, target = noisy(scene(), scene(*moved), noise=noise, seed=seed)
    assert beside_pattern(reference, target, -np.array(moved), STILL) < chance


@pytest.mark.parametrize("width", [0.8, 1.6])
@pytest.mark.parametrize("first", [True, False])
def test_another_sharpness_and_another_scaling_are_no_pattern(first, width):
    moved = (0.3, -0.4)
    images = [scene(), scene(*moved)]
    images[first] = np.sqrt(ndimage.gaussian_filter(images[first], width))
    reference, target = ((image - image.mean()) / image.std() * WIDE.std() for image in images)
    assert beside_pattern(*noisy(reference, target), -np.array(moved), STILL) < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_a_small_flow_in_a_still_scene_is_no_reason_to_look_elsewhere(seed):
    """Where the answer is on the detector's pixels, it is so for most of the scene, too."""
    flows = 0.1 * WIDE.std() * smooth_image((208, 208), seed=seed + 20, smoothness=2.0) / 20
    after = ndimage.shift(flows, (0.5, 2.0), mode="wrap")
    reference, target = noisy(*((WIDE + more)[32:176, 32:176] for more in (flows, after)))
    assert beside_pattern(reference, target, np.array([-0.02, 0.01]), STILL) == 0


def test_gaps_that_stay_on_their_pixels_are_no_pattern():
    moved = (0.5, -0.4)
    reference, target = noisy(scene(), scene(*moved))
    holes = ndimage.binary_dilation(np.random.default_rng(0).random(target.shape) < 0.005, iterations=2)
    target = np.where(holes, np.nan, target)
    assert beside_pattern(np.where(holes, np.nan, reference), target, -np.array(moved), STILL) < 0.02


def test_units_do_not_matter():
    sensitivity = dust((144, 144), np.random.default_rng(3))
    reference, target = noisy(scene() * sensitivity, scene(0.5, 0.5) * sensitivity)
    given = np.array([-0.2, -0.2]), STILL
    found = beside_pattern(reference, target, *given)
    assert found > 0.2
    for scale, offset in ((1e-20, 0.0), (1e12, 0.0), (1.0, 1e5)):
        assert beside_pattern(scale * reference + offset, target, *given) == pytest.approx(found, rel=1e-2)


def test_images_too_small_or_empty_say_nothing():
    small, empty, even = scene()[:60, :60], np.full((144, 144), np.nan), np.ones((144, 144))
    for image in (small, empty, even):
        assert beside_pattern(image, image, STILL, STILL) == 0
