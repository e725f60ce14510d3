"""Animations, written to files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation

__all__ = ["ffmpeg", "save_film"]


def ffmpeg() -> str | None:
    """Program that writes films other than GIF: the one that matplotlib knows, or that of imageio-ffmpeg."""
    from matplotlib import rcParams
    from matplotlib.animation import FFMpegWriter

    if FFMpegWriter.isAvailable():
        return str(rcParams["animation.ffmpeg_path"])
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    with suppress(RuntimeError):  # it was installed without the program
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    return None


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
    from matplotlib import rc_context
    from matplotlib.animation import FFMpegWriter, PillowWriter

    from sunalign.files.output import atomic_write

    kind = PillowWriter if Path(path).suffix.lower() == ".gif" else FFMpegWriter
    # Documented as an int, and turned into milliseconds: 700 of them are 1.43 frames a second.
    writer = kind(fps=fps)  # type: ignore[arg-type]
    program = None if kind is PillowWriter else ffmpeg()
    with (
        atomic_write(path, overwrite) as temporary,
        rc_context(None if program is None else {"animation.ffmpeg_path": program}),
    ):
        animation.save(str(temporary), writer=writer, dpi=dpi)
