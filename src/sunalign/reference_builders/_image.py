"""One image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sunalign.abc import ReferenceBuilder
from sunalign.exceptions import AlignmentError
from sunalign.images import Image, to_image

__all__ = ["ImageBuilder"]


@dataclass(frozen=True, kw_only=True)
class ImageBuilder(ReferenceBuilder):
    """Compare with one image of the same epoch."""

    def build(self, references: Sequence[Any], target: Image) -> Image:
        """See `sunalign.abc.ReferenceBuilder.build`."""
        if len(references) != 1:
            raise AlignmentError(
                f"The reference builder 'image' takes one image, and {len(references)} were given; "
                f"use reference_builder='synthetic-raster' for a sequence."
            )
        return to_image(references[0])
