"""A package of somebody else's that brings sunalign an optimizer and a metric.

Nothing here imports more of sunalign than its contract. ``example_plugin-0.1.dist-info`` beside this folder is what an
installer would have written; `Spiral` and `SignAgreement` are found through its ``entry_points.txt``.
"""

from example_plugin.metric import SignAgreement
from example_plugin.optimizer import Spiral

__all__ = ["SignAgreement", "Spiral"]
