"""What stays with the detector and is taken for the Sun: the answer is doubted, and a good one is not."""

import numpy as np
import pytest
from scipy import ndimage

import sunpy.map

import sunalign
from sunalign.exceptions import SunalignUserWarning
from sunalign.testing.helpers import small_map

SHAPE = (128, 128)
ROW, COLUMN = np.mgrid[:128, :128]
RNG = np.random.default_rng(3)
PATTERNS = {
    "none": np.ones(SHAPE),
    "flat field": 1 + 0.6 * (2 * ((COLUMN // 8 + ROW // 8) % 2) - 1),
    "dust": np.where(ndimage.binary_dilation(RNG.random(SHAPE) < 0.004, iterations=3), 0.3, 1.0),
    "occulter": np.where(np.hypot(COLUMN - 64, ROW - 64) < 30, 0.02, 1.0),
}


def moving(pattern, step, jitter=1.0):
    """Frames whose headers follow a scan of ``step`` pixels a frame and know nothing of the jitter."""
    rng = np.random.default_rng(0)
    scene = sum(s * ndimage.gaussian_filter(rng.normal(size=(180, 220)), s) for s in (2, 4, 10))
    scene = 100 * np.exp(0.6 * scene / scene.std())
    maps = []
    for k in range(14):
        jx, jy = rng.normal(0, jitter, 2)
        seen = ndimage.map_coordinates(scene, [ROW + 25 + jy, COLUMN + 25 + step * k + jx], order=3)
        made = small_map(seen * PATTERNS[pattern] + rng.normal(0, 3, SHAPE))
        meta = made.meta.copy() | {"date-obs": f"2024-05-01T00:00:{k:02d}", "crval1": 4.0 * step * k}
        meta.pop("mjd-obs", None)
        maps.append(sunpy.map.Map(made.data, meta))
    return maps


@pytest.mark.parametrize("step", [0.0, 0.3])
@pytest.mark.parametrize("pattern", ["flat field", "dust", "occulter"])
def test_frames_held_by_the_detector_are_doubted(pattern, step):
    with pytest.warns(SunalignUserWarning, match="a scene that moved is left over"):
        result = sunalign.align_sequence(moving(pattern, step), drift="remove")
    assert not result.success
    assert "fixed_patterns.rst" in result.message


@pytest.mark.parametrize(("step", "jitter"), [(0.0, 0.0), (0.0, 0.2), (0.0, 1.0), (0.3, 0.0), (0.8, 0.2)])
def test_frames_without_a_pattern_are_not_doubted(step, jitter):
    # Warnings are errors.
    assert sunalign.align_sequence(moving("none", step, jitter), drift="remove").success
