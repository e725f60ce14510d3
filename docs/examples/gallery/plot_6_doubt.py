"""
What doubt looks like
=====================

A search always ends somewhere, and always with a higher score than it began. Whether to believe it is another question.
"""

import warnings

import matplotlib.pyplot as plt

import astropy.units as u

import sunalign
from sunalign import simulate

###############################################################################
# A target that belongs to the reference, and one that shows another part of the Sun.

field = {"n_steps": 64, "n_slit": 400, "center": (-80, 160) * u.arcsec}
right = simulate.raster_pair(seed=5, **field)
other = simulate.raster_pair(seed=1, **field)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    results = {
        "the right target": sunalign.align(right.target, right.reference),
        "a wrong one": sunalign.align(other.target, right.reference),
    }
fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, (name, result) in zip(axes, results.items(), strict=True):
    result.plot_surface(axes=ax)
    ax.set_title(f"{name}\n{ax.get_title()}", fontsize="medium")
plt.show()

###############################################################################
# On the left one mountain stands in a plain; on the right there are hills, and one of them has to be the highest.

for name, result in results.items():
    print(f"{name}: {result.initial_score:.2f} before, {result.score:.2f} after, success={result.success}")

###############################################################################
# The wrong answer does not come without a word.

for warning in caught:
    if issubclass(warning.category, sunalign.exceptions.SunalignUserWarning):
        print(warning.message)

###############################################################################
# Nor would a look have missed it: the contours fit nothing.

results["a wrong one"].plot()
plt.show()
