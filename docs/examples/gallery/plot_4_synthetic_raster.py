"""
A synthetic raster beside its truth
===================================

A spacecraft at 0.45 au takes more than three hours over a raster. Meanwhile the Sun turns, and a single image shows
only one column as the slit saw it. A synthetic raster takes every column from the image of its own time.
"""

import matplotlib.pyplot as plt
import numpy as np

import astropy.units as u

from sunalign import simulate
from sunalign.images import to_image
from sunalign.reference_builders import ImageBuilder, SyntheticRaster

###############################################################################
# A raster, without noise to see all the better, and an imager frame every ten minutes.

scene = simulate.raster_pair(seed=5, n_steps=32, n_slit=200).scene
orbit = simulate.Orbit(dsun=0.45 * u.AU, hgln=scene.center[0], hglt=scene.center[1], time=scene.time)
field = {"observer": orbit, "center": (-80, 160) * u.arcsec}
truth = simulate.raster(scene, n_steps=96, n_slit=500, cadence=120 * u.s, psf_fwhm=None, **field).target
times = scene.time + np.arange(0, 200, 10) * u.min
frames = simulate.sequence(scene, times, shape=(180, 230), **field)

###############################################################################
# The raster from all frames, and from the middle one as it is.

raster = to_image(truth)
synthetic = SyntheticRaster(slit_width=6 * u.arcsec).build(frames, raster)
frozen = ImageBuilder(solar_rotation="none").build([frames[len(frames) // 2]], raster)
for line in synthetic.assumptions.items():
    print(*line, sep=": ")

###############################################################################
# Side by side on the raster's own pixels. Below: what is left of the truth, in units of its own spread.


def on_pixels(reference):
    ny, nx = raster.data.shape
    return reference.sample_grid(np.eye(3), (ny, nx), np.arange(nx, dtype=float))


pictures = {"the raster": raster.data, "synthetic raster": on_pixels(synthetic), "one frozen image": on_pixels(frozen)}
fig, axes = plt.subplots(2, 3, figsize=(10, 6.4), layout="constrained", sharex=True, sharey=True)
low, high = np.sqrt(np.percentile(raster.data, (1, 99.7)))
for ax, (name, data) in zip(axes[0], pictures.items(), strict=True):
    ax.imshow(np.sqrt(data), origin="lower", aspect=1.098 / 6, cmap="gray", vmin=low, vmax=high)
    ax.set_title(name)
axes[1, 0].axis("off")
for ax, data in zip(axes[1, 1:], list(pictures.values())[1:], strict=True):
    off = (data - raster.data) / np.nanstd(raster.data)
    shade = ax.imshow(off, origin="lower", aspect=1.098 / 6, cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_title(f"less the raster: {100 * np.nanstd(off):.0f} % of its σ")
    ax.set_xlabel("Slit position")
axes[0, 0].set_ylabel("Pixel along the slit")
axes[1, 1].set_ylabel("Pixel along the slit")
fig.colorbar(shade, ax=axes[1], label="Difference / σ of the raster", shrink=0.9)
plt.show()
