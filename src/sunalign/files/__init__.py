"""Files: corrections written and taken back (`sunalign.files.io`), images found by time (`sunalign.files.catalog`)."""

from sunalign._lazy import lazy

# Undoing a file needs no catalogue, and so no sunpy.
__getattr__, __dir__ = lazy("sunalign.files", {}, ("catalog", "io"))
