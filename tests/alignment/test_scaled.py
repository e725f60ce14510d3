"""Both images are clipped at the same structure, whatever else the larger of them shows."""

import numpy as np
import pytest

from astropy.wcs import WCS

from sunalign.alignment.scaled import compared
from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.model.intensity import STRETCHES, IntensityScaling
from sunalign.model.noise import NoiseModel
from sunalign.model.reference import ImageReference
from sunalign.testing.helpers import smooth_image

SIDE, MARGIN = 200, 10


def image_of(data):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.cdelt = ["HPLN-TAN", "HPLT-TAN"], ["arcsec"] * 2, [0.6] * 2
    wcs.wcs.crpix = (np.array(data.shape[::-1]) + 1) / 2
    wcs.wcs.set()
    return Image(data, PixelGrid(wcs, data.shape))


def scaled_pair(wide, stretch, valid=slice(None)):
    """Target, cut from the middle of a wider reference, and the reference's part of it, both scaled."""
    inside = slice(MARGIN, MARGIN + SIDE)
    given = image_of(wide[inside, inside])
    target = given.crop(valid, slice(0, SIDE))
    reference = ImageReference.of(image_of(wide), given)
    scaled, other, _ = compared(target, NoiseModel(), reference, given.grid, IntensityScaling(stretch=stretch))
    return scaled.data, other.arrays()[0][inside, inside][valid]


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("valid", [slice(0, SIDE), slice(2, SIDE - 1)], ids=["all", "some rows"])
def test_the_bright_parts_come_out_the_same_though_the_reference_shows_more_sky(stretch, valid):
    n = SIDE + 2 * MARGIN
    wide = np.exp(smooth_image((n, n), seed=2, smoothness=6.0) / 30)
    inner = np.zeros((n, n), bool)
    inner[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE] = True
    wide = np.where(inner, wide, 0.02 * wide)
    target, seen = scaled_pair(wide, stretch, valid)
    bright = target > np.percentile(target, 60)
    # By percentiles of all that it shows the reference would be clipped at less.
    assert bright.sum() > 100
    np.testing.assert_allclose(seen[bright], target[bright], rtol=1e-4)


@pytest.mark.parametrize("margin", [10, 60])
def test_what_the_target_may_yet_be_moved_onto_is_not_clipped(margin):
    n = SIDE + 2 * margin
    wide = smooth_image((n, n), seed=4, smoothness=5.0) + 200
    # An active region that the header puts beside the target, more than a hundredth of all that the reference shows.
    wide[: margin // 2, :] += 3000
    inside = slice(margin, margin + SIDE)
    given = image_of(wide[inside, inside])
    reference = ImageReference.of(image_of(wide), given)
    _, other, _ = compared(given, NoiseModel(), reference, given.grid, IntensityScaling(stretch="linear"))
    assert other.arrays()[0].max() > 3000


def test_a_start_in_a_wide_reference_does_not_choose_what_is_clipped():
    n = 3 * SIDE
    wide = np.exp(smooth_image((n, n), seed=2, smoothness=6.0) / 30)
    limits = []
    for first in (20, 300):
        given = image_of(wide)
        target = given.crop(slice(first, first + SIDE), slice(first, first + SIDE))
        reference = ImageReference.of(given, given)
        _, other, _ = compared(target, NoiseModel(), reference, given.grid, IntensityScaling(stretch="linear"))
        limits.append((other.arrays()[0].min(), other.arrays()[0].max()))
    assert limits[0] == limits[1]
