"""Animations, written to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation

__all__ = ["save_film"]


def save_film(
    animation: FuncAnimation, path: str | os.PathLike[str], *, fps: float, dpi: float, overwrite: bool
) -> None:
    """Write a GIF, or by ffmpeg what has any other name; it is whole or not there.

    Parameters
    ----------
    animation : `~matplotlib.animation.FuncAnimation`
    path : path-like
    fps : `float`
        Frames a second.
    dpi : `float`
        Dots an inch.
    overwrite : `bool`
        Whether a file that exists is replaced.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    from sunalign.files.io import atomic_write

    kind = PillowWriter if Path(path).suffix.lower() == ".gif" else FFMpegWriter
    # Documented as an int, and turned into milliseconds: 700 of them are 1.43 frames a second.
    writer = kind(fps=fps)  # type: ignore[arg-type]
    with atomic_write(path, overwrite) as temporary:
        animation.save(str(temporary), writer=writer, dpi=dpi)
