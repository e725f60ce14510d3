"""``align_to`` on maps and cubes, beside ``reproject_to``.

Neither sunpy nor ndcube has a registry for such methods yet. Until one exists importing this sets the method, never
overrides, keeps nothing on instances and can be undone. ``import sunalign`` imports it together with maps and cubes.
"""

from __future__ import annotations

import inspect
from typing import Any

from ndcube.ndcube import NDCubeBase
from sunpy.map import GenericMap

from sunalign.exceptions import warn_user

__all__ = ["attach", "detach"]

TARGETS: tuple[type, ...] = (GenericMap, NDCubeBase)

# Classes that were found to have a method of that name: saying so once is enough.
_WARNED: set[type] = set()


def align_to(self: Any, reference: Any, *, return_result: bool = False, **options: Any) -> Any:
    """Correct this image's pointing by comparing it with a reference.

    Parameters
    ----------
    reference : image, or a sequence of them
        Image whose pointing is trusted.
    return_result : `bool`
        Return ``(image, result)`` instead of the image alone.
    **options
        As `sunalign.align` has them; for a cube also those of `sunalign.images.cubes.spectral_image`: ``wavelength``,
        ``width``, ``line``, ``reduce``, ``mask_dumbbells``.

    Returns
    -------
    `~sunpy.map.GenericMap` or `~ndcube.NDCube`
        A new object of the same type with corrected coordinates; the data are shared and not resampled.
    `~sunalign.AlignmentResult`
        With ``return_result=True``: the whole story.
    """
    # Loaded with the first alignment, not with the package.
    from sunalign.alignment.align import align
    from sunalign.images.cubes import CHOICES, spectral_image

    target = self
    if isinstance(self, NDCubeBase):
        target = spectral_image(self, **{key: options.pop(key) for key in CHOICES if key in options})
    result = align(target, reference, **options)
    return (result.aligned, result) if return_result else result.aligned


def attach(targets: tuple[type, ...] = TARGETS) -> None:
    """Give maps and cubes their ``align_to``; ``import sunalign`` does so."""
    for cls in targets:
        existing = inspect.getattr_static(cls, "align_to", None)
        if existing is None:
            cls.align_to = align_to  # type: ignore[attr-defined]
        elif existing is not align_to and cls not in _WARNED:
            _WARNED.add(cls)
            warn_user(f"{cls.__name__} has an align_to of its own, which is left alone; use sunalign.align() instead.")


def detach(targets: tuple[type, ...] = TARGETS) -> None:
    """Take the methods away again."""
    for cls in targets:
        if cls.__dict__.get("align_to") is align_to:
            del cls.align_to  # type: ignore[attr-defined]


attach()
