"""
A pointing that drifts and jumps
================================

The pointing of a raster changes while it is taken. A smooth drift needs no help; of a jump it has to be known when it
was.
"""

import matplotlib.pyplot as plt

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.pointing import step

###############################################################################
# A raster of 96 minutes with a drift of 5 arcsec and a jump of 8 arcsec, and an image in other light.

orbit = simulate.Orbit(dsun=0.45 * u.AU, time="2024-10-17T00:00:00")
pair = simulate.raster_pair(
    seed=2,
    cadence=60 * u.s,
    observer=orbit,
    drift=5 * u.arcsec,
    jumps=[(40, 8 * u.arcsec, 0 * u.arcsec)],
    mismatch=0.4,
)
result = sunalign.align(
    pair.target, pair.reference, fit=("shift", "scale", "drift"), pointing=step("2024-10-17T00:40:00", "jump")
)
print(result.drift)

###############################################################################
# What was found with its errors, and the truth, dotted.

fig = result.plot_pointing()
minutes = (pair.times - pair.times.min()).to_value(u.min)
for ax, axis in zip(fig.axes, "xy", strict=False):
    ax.plot(minutes, pair.pointing[f"shift_{axis}"].to_value(u.arcsec), "k:", label="true")
fig.axes[0].legend(loc="best", fontsize="small")
plt.show()
