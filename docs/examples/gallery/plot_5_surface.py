"""
The correlation surface and the error ellipse
=============================================

The correlation at every shift is a mountain with one top, if all is well. How narrow the top is, and how noisy the
images are, decides how well the shift is known: the ellipse.
"""

import matplotlib.pyplot as plt

import astropy.units as u

import sunalign
from sunalign import simulate

###############################################################################
# A good raster. The errors are a small part of a pixel, so that the ellipses need an enlargement to be seen.

field = {"seed": 5, "n_steps": 64, "n_slit": 400, "center": (-80, 160) * u.arcsec}
pair = simulate.raster_pair(**field)
good = sunalign.align(pair.target, pair.reference)
good.plot_surface()
plt.show()

###############################################################################
# The same field through a line that shows much structure of its own. The mountain is lower, and the errors grow, though
# the noise of the pixels is the same: they are measured on what is left, block by block.

other = simulate.raster_pair(mismatch=0.7, **field)
rough = sunalign.align(other.target, pair.reference)
rough.plot_surface()
plt.show()

###############################################################################

for name, result in (("alike", good), ("with structure of its own", rough)):
    print(f"{name}: {result.correction}, significance {result.quality.peak_significance:.0f}")
