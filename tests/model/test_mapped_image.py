"""One image with its mapping: what is cut off is never needed, and nothing is read before it is."""

from pathlib import Path

import numpy as np
import pytest

import sunalign
from sunalign.geometry.coordinates import ARCSEC
from sunalign.geometry.mapping import PixelMapping
from sunalign.images import to_image
from sunalign.model.mapped_image import MappedImage
from sunalign.testing.helpers import small_map, smooth_image

PIXEL = 4.0  # arcsec


@pytest.fixture
def target():
    return to_image(small_map(smooth_image((30, 24)), scale=PIXEL))


def part_of(target, roll=0.0, **options):
    image = to_image(small_map(smooth_image((120, 110), seed=3), scale=PIXEL, roll=roll))
    return MappedImage(image, (PixelMapping(target.grid, image.grid),), **options)


@pytest.mark.parametrize("roll", [0.0, 25.0, 90.0])
@pytest.mark.parametrize("margin", [0.0, 20.0, 60.0])
def test_every_shift_within_the_margin_is_sampled_alike_in_the_window(target, roll, margin):
    whole = part_of(target, roll)
    cut = whole.cropped(whole.needed(margin * ARCSEC))
    assert cut.data.size < whole.data.size
    y, x = (a.astype(float) for a in np.mgrid[:30, :24])
    for angle in np.linspace(0, 2 * np.pi, 9):
        moved = x + margin / PIXEL * np.cos(angle), y + margin / PIXEL * np.sin(angle)
        expected = whole.sample(*moved)
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(cut.sample(*moved), expected, atol=0.02)


def test_columns_need_less_than_all(target):
    whole = part_of(target)
    _, few = whole.needed(0.0, columns=np.array([4, 5, 6]))
    _, every = whole.needed(0.0)
    assert few.stop - few.start < every.stop - every.start - 15


def test_what_is_elsewhere_is_not_needed(target):
    image = to_image(small_map(smooth_image((40, 40)), scale=PIXEL, centre=(900.0, 900.0)))
    assert MappedImage(image, (PixelMapping(target.grid, image.grid),)).needed(20 * ARCSEC) is None


def test_pixels_are_read_once_and_only_where_they_are_needed(target):
    read = []

    def pixels():
        read.append(1)
        return smooth_image((120, 110), seed=3)

    lazy, eager = part_of(target, read=pixels), part_of(target)
    lazy.needed(40 * ARCSEC)
    lazy.positions(np.zeros(1), np.zeros(1))
    assert not read
    x, y = np.array([3.3, 8.1]), np.array([2.7, 20.0])
    for change in (
        lambda part: part,
        lambda part: part.mapped(np.sqrt),
        lambda part: part.smoothed(1.2),
        lambda part: part.binned(2),
        lambda part: part.smoothed(1.2).binned(2).mapped(np.log),
    ):
        np.testing.assert_array_equal(change(lazy).sample(x, y), change(eager).sample(x, y))
    assert len(read) == 1


def test_the_slopes_are_differences_of_samples(target):
    part, step = part_of(target, roll=30.0), 1e-3
    x, y = np.array([3.3, 8.1, 14.9]), np.array([2.7, 20.0, 11.2])
    value, by_x, by_y = part.sample_with_gradient(x, y)
    np.testing.assert_allclose(value, part.sample(x, y))
    np.testing.assert_allclose(by_x, (part.sample(x + step, y) - part.sample(x - step, y)) / (2 * step), atol=1e-4)
    np.testing.assert_allclose(by_y, (part.sample(x, y + step) - part.sample(x, y - step)) / (2 * step), atol=1e-4)


def test_the_model_knows_neither_metrics_nor_optimizers():
    folder = Path(sunalign.__file__).parent / "model"
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "from sunalign.metrics" not in text, path.name
        assert "from sunalign.optimizers" not in text, path.name
