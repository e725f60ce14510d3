"""The sequence as a film, before and after beside each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.geometry.coordinates import ARCSEC
from sunalign.sequences._picture import on_box, picture_box
from sunalign.visualization.axes import AFTER, BEFORE, new_figure
from sunalign.visualization.films import save_film

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation

    from sunalign.sequences._result import SequenceResult

__all__ = ["check_film", "movie"]

_MOST = 400  # Frames of a film; of a longer sequence every other one, and so on.
_LINES = (0.25, 0.5, 0.75)


def movie(
    result: SequenceResult,
    path: str | os.PathLike[str] | None = None,
    *,
    fps: float = 8.0,
    dpi: float = 90,
    annotate: bool = True,
    overwrite: bool = False,
) -> FuncAnimation:
    """Show the frames in turn, on one piece of sky, where their headers had them and where they are now.

    The known motion of the Sun is taken out on both sides, and thin lines that do not move give the eye something to
    hold on to. Frames that were not placed are left out.

    Parameters
    ----------
    result : `~sunalign.sequences.SequenceResult`
    path : path, optional
        GIF, or MP4 where ffmpeg or imageio-ffmpeg is installed.
    fps : `float`
        Frames a second.
    dpi : `float`
        Resolution.
    annotate : `bool`
        Whether to write titles.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Returns
    -------
    `~matplotlib.animation.FuncAnimation`
        To be kept as long as it is to move.
    """
    from matplotlib.animation import FuncAnimation

    if path is not None:
        # First of all: an animation that is made and not used raises matplotlib's warning.
        check_film(Path(path), overwrite)
    stack, placed = result.stack, result.placed
    kept = [k for k in stack.usable if np.isfinite(placed[k]).all()]
    kept = kept[:: max(1, -(-len(kept) // _MOST))]
    box = picture_box(stack)
    width, height = (n * s / ARCSEC for n, s in zip((box.nx, box.ny), result.scene.grid.pixel_size, strict=True))
    panel = 4.0
    fig = new_figure(2 * panel + 0.9, float(np.clip(panel * height / width, 1.6, 6.0)) + 0.8)
    axes = fig.subplots(1, 2, sharey=True)
    first = on_box(stack, kept[0], placed[kept[0]], box)
    low, high = np.nanpercentile(first, (0.5, 99.7))
    artists = []
    for ax, colour, word in zip(axes, (BEFORE, AFTER), ("before", "after"), strict=True):
        ax.set_facecolor("0.85")
        artists.append(
            ax.imshow(
                first,
                origin="lower",
                extent=(-width / 2, width / 2, -height / 2, height / 2),
                cmap="gray",
                vmin=low,
                vmax=high,
                interpolation="nearest",
                aspect="equal",
            )
        )
        for part in _LINES:
            ax.axvline((part - 0.5) * width, color=colour, lw=0.6, alpha=0.7)
            ax.axhline((part - 0.5) * height, color=colour, lw=0.6, alpha=0.7)
        ax.set_xlabel("x [arcsec]")
        if annotate:
            ax.set_title(word, fontsize="medium", color="0.2")
    axes[0].set_ylabel("y [arcsec]")
    title = fig.suptitle(" ", fontsize="medium") if annotate else None
    dates = result.table["date"]

    def draw(turn: int) -> list[Any]:
        k = kept[turn]
        for artist, theta in zip(artists, (np.zeros(2), placed[k]), strict=True):
            artist.set_data(on_box(stack, k, theta, box))
        if title is not None:
            title.set_text(f"{str(dates[result.order[k]].utc.isot)[:19]}   frame {turn + 1} of {len(kept)}")
        return artists

    draw(0)
    animation = FuncAnimation(fig, draw, frames=len(kept), interval=1000 / fps, blit=False)
    if path is not None:
        save_film(animation, path, fps=fps, dpi=dpi, overwrite=overwrite)
    return animation


def check_film(path: Path, overwrite: bool) -> None:
    """Refuse a name that no film can be written to, or that is taken.

    Parameters
    ----------
    path : `~pathlib.Path`
    overwrite : `bool`
        Whether it may exist.
    """
    from sunalign.files.output import check_output
    from sunalign.visualization.films import ffmpeg

    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"A film is written as GIF or MP4; name it like movie.gif, not {path.name!r}.")
    if path.suffix.lower() == ".mp4" and ffmpeg() is None:
        raise ValueError(
            f"{path.name} needs ffmpeg, which is not installed; install it, or imageio-ffmpeg by pip, or name the film "
            f"like movie.gif."
        )
    check_output(path, overwrite)
