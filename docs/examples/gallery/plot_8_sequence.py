"""
A sequence
==========

Twenty-four frames jump by a pixel or two; one of them is black. Where is each, and how sure is that?
"""

import warnings

import numpy as np

import sunpy.map

import sunalign
from sunalign.exceptions import SunalignUserWarning
from sunalign.testing.helpers import small_sequence

frames, truth = small_sequence(24, shape=(128, 144), jitter=1.5, noise=12.0, scale=0.6)
frames[9] = sunpy.map.Map(np.zeros_like(frames[9].data), frames[9].meta)

with warnings.catch_warnings():
    # It says which frame is left as it was; so does the table.
    warnings.simplefilter("ignore", SunalignUserWarning)
    result = sunalign.align_sequence(frames, drift="remove")
print(result)

###############################################################################
# What the headers are off by, with errors; the black frame is marked.

result.plot()

###############################################################################
# Which frames were compared, and what does not close once all are in their places.

result.plot_pairs()

###############################################################################
# Before and after.

animation = result.movie()

###############################################################################
# ``result.movie("movie.gif")`` writes it to a file.
# Because the frames are simulated, the errors can be held against what they claim.

found = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1)
claimed = np.stack([result.table["shift_x_error"].value, result.table["shift_y_error"].value], axis=1)
left = found - truth.value
left -= np.nanmean(left, axis=0)
print(f"rms error {np.nanstd(left):.3f} arcsec, claimed {np.nanmean(claimed):.3f}")
