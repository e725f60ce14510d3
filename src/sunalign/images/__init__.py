"""Any image in; data, celestial grid, times and observer inside.

`to_image` takes a `~sunpy.map.GenericMap`, an `~ndcube.NDCube` with two celestial axes (see `sunalign.images.cubes`),
``(data, header)``, ``(data, wcs)`` or the path of a FITS file. The rest of the package sees `Image`.
"""

from sunalign.images._image import Image, clean_data
from sunalign.images._reading import map_image, map_wcs, read_map, to_image

__all__ = ["Image", "clean_data", "map_image", "map_wcs", "read_map", "to_image"]
