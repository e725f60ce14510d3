"""Which image of a FITS file is on the sky, and what is said where none is."""

import numpy as np
import pytest

from astropy.io import fits
from astropy.table import Table

import sunalign
from sunalign.exceptions import AlignmentError, ImageError
from sunalign.files.catalog import _entry
from sunalign.images import to_image
from sunalign.testing.helpers import small_header, small_map, smooth_image

DATA = smooth_image()
SKY = fits.Header({k: v for k, v in small_header(DATA.shape).items() if not k.upper().startswith("NAXIS")})
#: As it has them without data.
ON_SKY = "has CTYPE HPLN-TAN, HPLT-TAN but no image"
PIXELS = "has 40 x 48 pixels and CTYPE none, none"
TOGETHER = r"write the image of HDU {} and the header of HDU {} into one HDU, or give them as \(data, header\)\."


def primary(data=None, header=None):
    return fits.PrimaryHDU(data, header)


def image(data=None, header=None):
    return fits.ImageHDU(data, header)


def table(header=None):
    return fits.BinTableHDU(Table({"a": [1.0, 2.0]}), header)


CASES = {
    "an image, coordinates": (
        lambda: [primary(DATA), image(None, SKY)],
        f"HDU 0 {PIXELS}; HDU 1 {ON_SKY}. If they belong together, " + TOGETHER.format(0, 1),
    ),
    "coordinates, an image": (
        lambda: [primary(None, SKY), image(DATA)],
        f"HDU 0 {ON_SKY}; HDU 1 {PIXELS}. If they belong together, " + TOGETHER.format(1, 0),
    ),
    "nothing, coordinates, an image": (
        lambda: [primary(), image(None, SKY), image(DATA)],
        f"HDU 0 has no image; HDU 1 {ON_SKY}; HDU 2 {PIXELS}. If they belong together, " + TOGETHER.format(2, 1),
    ),
    "coordinates, a compressed image": (
        lambda: [primary(None, SKY), fits.CompImageHDU(DATA)],
        f"HDU 0 {ON_SKY}; HDU 1 {PIXELS}. If they belong together, " + TOGETHER.format(1, 0),
    ),
    "an image, coordinates of a table": (
        lambda: [primary(DATA), table(SKY)],
        f"HDU 0 {PIXELS}; HDU 1 is a table with CTYPE HPLN-TAN, HPLT-TAN. If they belong together, "
        + TOGETHER.format(0, 1),
    ),
    "many images, coordinates": (
        lambda: [primary(), *[image(DATA) for _ in range(6)], image(None, SKY)],
        f"HDU 1 {PIXELS}; HDU 2 {PIXELS}; HDU 3 {PIXELS}; HDU 7 {ON_SKY}. If they belong together, "
        + TOGETHER.format(1, 7),
    ),
    "nothing, coordinates": (
        lambda: [primary(), image(None, SKY)],
        f"HDU 0 has no image; HDU 1 {ON_SKY}. Its pixels are missing; choose another file",
    ),
    "coordinates": (lambda: [primary(None, SKY)], f"HDU 0 {ON_SKY}. Its pixels are missing"),
    "a spectrum, coordinates": (
        lambda: [primary(DATA[0]), image(None, SKY)],
        f"HDU 0 has no image; HDU 1 {ON_SKY}. Its pixels are missing",
    ),
    "an image": (lambda: [primary(DATA)], r"in any of its images \(HDU 0: CTYPE none, none\); one longitude"),
    "a table": (lambda: [primary(), table()], "holds no image: none of its 2 HDUs has two axes"),
}


@pytest.mark.parametrize("name", CASES)
def test_where_no_image_is_on_the_sky_it_is_told_what_each_hdu_has(name, tmp_path):
    make, words = CASES[name]
    path = tmp_path / "six.fits"
    fits.HDUList(make()).writeto(path)
    for act in (
        to_image, lambda path: sunalign.align(path, small_map()), lambda path: sunalign.align(small_map(), path),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=words) as caught:
            act(path)
        assert len(str(caught.value).replace(str(path), "six.fits")) < 500
    for act in (lambda path: sunalign.align(small_map(), [path]), lambda path: sunalign.align_sequence([path, path])):
        with pytest.raises(AlignmentError, match=words.partition(". ")[0].partition("; one")[0]):
            act(path)


def test_the_next_step_that_is_told_can_be_taken(tmp_path):
    path = tmp_path / "six.fits"
    fits.HDUList([primary(np.roll(DATA, 1, axis=1)), image(None, SKY)]).writeto(path)
    with fits.open(path) as hdus:
        result = sunalign.align((hdus[0].data, hdus[1].header), small_map(), fit="shift")
    assert result.correction.shift_x.value == pytest.approx(-4, abs=0.1)


@pytest.mark.parametrize("make", [fits.ImageHDU, fits.CompImageHDU])
def test_the_first_image_on_the_sky_is_taken_wherever_it_is(make, tmp_path):
    path = tmp_path / "six.fits"
    other = fits.Header({"DATE-OBS": "2000-01-01T00:00:00"})
    fits.HDUList([primary(np.zeros((4, 4)), other), image(None, SKY), table(), make(DATA, SKY)]).writeto(path)
    found = to_image(path)
    np.testing.assert_allclose(found.data, DATA, rtol=0, atol=1e-2 * np.ptp(DATA))
    # The catalogue of files takes the date of the same one.
    assert abs((_entry(str(path), 0, 0).date - found.date).sec) < 1e-3
