"""
Simulated observations of a Sun that is known exactly.

A `Scene` is sampled by an `imager`, a slit `raster` or a `sequence` of frames. `raster_pair` and `image_pair` make a
target with a known `PointingError` and a reference, to test what an alignment finds. The geometry here is closed form
and independent of the rest of the package, which it serves as a yardstick.
"""

from sunalign.simulate._defects import defects
from sunalign.simulate._header import PointingError
from sunalign.simulate._imager import imager, sequence, target_image
from sunalign.simulate._observer import Orbit, observer
from sunalign.simulate._pairs import image_pair, raster_pair
from sunalign.simulate._raster import raster
from sunalign.simulate._scene import Scene
from sunalign.simulate._simulated import Simulated

__all__ = [
    "Orbit",
    "PointingError",
    "Scene",
    "Simulated",
    "defects",
    "image_pair",
    "imager",
    "observer",
    "raster",
    "raster_pair",
    "sequence",
    "target_image",
]
