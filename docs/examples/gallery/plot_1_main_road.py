"""
The main road
=============

A raster with a wrong header, an image with a right one, and everything there is to see on the way from the one to the
other. The tutorial explains the figures; this page is the code.
"""

import matplotlib.pyplot as plt

import astropy.units as u

import sunalign
from sunalign import simulate

###############################################################################
# The raster needs a shift, a little stretching and a turn.

error = simulate.PointingError(
    shift_x=31 * u.arcsec, shift_y=-18 * u.arcsec, scale_x=1.02, scale_y=1.004, rotation=0.4 * u.deg
)
pair = simulate.raster_pair(seed=5, n_slit=600, center=(-80, 160) * u.arcsec, error=error)

###############################################################################
# One call. The result prints itself.

result = sunalign.align(pair.target, pair.reference, fit=("shift", "scale", "rotation"))
print(result)

###############################################################################
# Before and after: the reference with contours of the raster, where its header puts them and where the corrected
# header does.

result.plot()
plt.show()

###############################################################################
# What is left when the reference is subtracted: noise, if all went well.

result.plot_residual()
plt.show()

###############################################################################
# The correlation at every shift. One peak stands far above the rest.

result.plot_surface()
plt.show()

###############################################################################
# How the search went is worth a look with optimizers that try many candidates. (The default one works on coarse images,
# and tries little more than the start and the answer at full resolution.)

climb = sunalign.align(pair.target, pair.reference, fit=("shift", "scale", "rotation"), optimizer="hill-climb")
climb.plot_history()
plt.show()

###############################################################################
# The same as a curve.

climb.plot_convergence()
plt.show()
