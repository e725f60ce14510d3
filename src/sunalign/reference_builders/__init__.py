"""Reference builders: what the target is compared with."""

from sunalign.reference_builders._carrington import Carrington
from sunalign.reference_builders._image import ImageBuilder
from sunalign.reference_builders._solar import SolarBuilder
from sunalign.reference_builders._synthetic_raster import SyntheticRaster

__all__ = ["Carrington", "ImageBuilder", "SolarBuilder", "SyntheticRaster"]
