"""Header to coordinates and back: the celestial WCS of any header, and the keywords that a correction changes.

Internal: `sunalign.correctors` and `sunalign.files` write with it, `sunalign.images` reads with it, so that what is
aligned is what is corrected.
"""
