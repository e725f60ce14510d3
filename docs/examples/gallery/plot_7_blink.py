"""
A blink
=======

The eye sees a motion of a tenth of a pixel. Blink the two images before you believe a number.
"""

import astropy.units as u

import sunalign
from sunalign import simulate

error = simulate.PointingError(shift_x=22 * u.arcsec, shift_y=-14 * u.arcsec, rotation=0.5 * u.deg)
pair = simulate.raster_pair(seed=5, n_slit=600, center=(-80, 160) * u.arcsec, error=error)
result = sunalign.align(pair.target, pair.reference, fit=("shift", "rotation"))
animation = result.blink()

###############################################################################
# ``result.blink("blink.gif")`` writes it to a file.
