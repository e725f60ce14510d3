"""Reference builders: what the target is compared with."""

from sunalign.reference_builders._image import ImageBuilder

__all__ = ["ImageBuilder"]
