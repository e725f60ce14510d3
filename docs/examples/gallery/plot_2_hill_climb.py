"""
Two ways up the same hill
=========================

The hill-climb of earlier tools, and the default, on one picture: the correlation at every shift, and the shifts that
each of the two tried at full resolution.
"""

import matplotlib.pyplot as plt
import numpy as np

import astropy.units as u

import sunalign
from sunalign import simulate

error = simulate.PointingError(shift_x=34 * u.arcsec, shift_y=-27 * u.arcsec)
pair = simulate.raster_pair(seed=5, n_slit=600, center=(-80, 160) * u.arcsec, error=error)
ways = {
    "coarse-to-fine": {"color": "#ff8c1a", "marker": "o", "ms": 15, "mew": 2, "mfc": "none", "ls": ""},
    "hill-climb": {"color": "#19d3f3", "marker": ".", "ms": 4, "ls": ""},
}
results = {name: sunalign.align(pair.target, pair.reference, optimizer=name, max_shift=60 * u.arcsec) for name in ways}

###############################################################################
# Both end at the same place. What differs is how many images they had to compare.

for name, result in results.items():
    print(f"{name}: {result.nfev} images, score {result.score:.4f}, {result.correction}")

###############################################################################
# The hill-climb looks around, steps to the best place in sight, and looks around again, nearer when nothing is better.
# The default has computed the whole surface, on coarse images, in one go, and only polishes its peak.

surface = results["coarse-to-fine"].surface
fig, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
shade = ax.pcolormesh(surface.shift_x, surface.shift_y, surface.scores, cmap="gray", shading="nearest")
for name, style in reversed(ways.items()):
    history = results[name].history
    ax.plot(history["shift_x"].value, history["shift_y"].value, label=f"{name}, {len(history)} trials", **style)
ax.plot(0, 0, "x", color="white", ms=9, mew=2, label="start")
ax.plot(34, -27, "*", color="gold", mec="black", ms=16, label="truth")
ax.set(xlabel="Shift x [arcsec]", ylabel="Shift y [arcsec]", aspect="equal")
ax.legend(loc="upper left", fontsize="small", facecolor="0.25", labelcolor="white", framealpha=0.9)
fig.colorbar(shade, label="Correlation")
plt.show()

###############################################################################
# The best score so far, by the number of images compared. The trials that ``coarse-to-fine`` makes on coarse images are
# counted, but have no score at full resolution.

fig, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
for name, style in ways.items():
    result = results[name]
    best = np.maximum.accumulate(result.history["score"])
    count = np.arange(1, len(best) + 1) + (result.nfev - len(best)) * (np.arange(len(best)) > 0)
    ax.step(count, best, where="post", color=style["color"], lw=2, label=name)
ax.set(xlabel="Images compared", ylabel="Best score so far", xscale="log")
ax.grid(alpha=0.3)
ax.legend()
plt.show()
