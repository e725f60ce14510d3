"""Pointing that changes inside a raster: drift, templates of it, and tables of it in files.

``sunalign.align(…, fit=("shift", "scale", "drift"))`` finds it, beside what moves the raster as a whole; this package
holds what it is told by: `Template`, `step`, `sine` and `table_template` for ``pointing=``, `Drift` for what comes of
it, and `read_pointing` and `load_pointing` for what files say.
"""

from sunalign.files.pointing_tables import load_pointing, read_pointing
from sunalign.pointing.drift import Drift
from sunalign.pointing.options import DriftOptions
from sunalign.pointing.templates import Template, sine, step, table_template

__all__ = ["Drift", "DriftOptions", "Template", "load_pointing", "read_pointing", "sine", "step", "table_template"]
