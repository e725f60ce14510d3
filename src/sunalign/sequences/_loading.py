"""All frames read, one at a time, and put where their headers have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sunalign._progress import tracked
from sunalign.exceptions import AlignmentError, ImageError, describe_error
from sunalign.geometry.dates import seconds_between
from sunalign.geometry.observation import Modelling
from sunalign.images.cube_files import CubeFile
from sunalign.images.frames import FrameFile
from sunalign.model.intensity import IntensityScaling
from sunalign.sequences._frames import SequenceFrame
from sunalign.sequences._known_motion import Placing, SceneGrid, placed_pixels, placing
from sunalign.sequences._patterns import detector_pattern, lasting_hot_pixels
from sunalign.sequences._working import WorkingImage

__all__ = ["Loaded", "Preparation", "load_all"]

Progress = bool | Callable[..., Any] | None
Limits = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to the pixels of every frame.

    Parameters
    ----------
    scaling : `~sunalign.model.intensity.IntensityScaling`
    mask : `numpy.ndarray` of `bool`, optional
        True where pixels of the detector are to be ignored, in frames of its shape.
    limits : `tuple` of `float`, optional
        Intensities beyond which pixels are ignored.
    """

    scaling: IntensityScaling
    mask: np.ndarray | None = None
    limits: Limits | None = None

    def without(self, pattern: np.ndarray) -> Preparation:
        """The same, with further pixels ignored.

        Parameters
        ----------
        pattern : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where a pixel is to be ignored.
        """
        return replace(self, mask=pattern if self.mask is None else self.mask | pattern)

    def __call__(
        self,
        pixels: tuple[np.ndarray, np.ndarray | None],
        placed: Placing,
        name: str,
        moved: np.ndarray | None = None,
    ) -> WorkingImage:
        """Working image of a frame's pixels."""
        data, mask = pixels
        if self.mask is not None and self.mask.shape == data.shape:
            mask = self.mask if mask is None else mask | self.mask
        if self.limits is not None:
            lower, upper = self.limits
            with np.errstate(invalid="ignore"):
                beyond = data < (-np.inf if lower is None else lower)
                beyond |= data > (np.inf if upper is None else upper)
            mask = beyond if mask is None else mask | beyond
        return placed_pixels(data, mask, placed, self.scaling, name, moved)


@dataclass(frozen=True, eq=False)
class Loaded:
    """Frames as they are measured.

    Parameters
    ----------
    scene : `~sunalign.sequences._known_motion.SceneGrid`
    images : `list` of `~sunalign.sequences._working.WorkingImage` or `None`
        In the order of time.
    placings : `list` of `~sunalign.sequences._known_motion.Placing` or `None`
    problems : mapping
        By number: why there is no image of a frame.
    assumptions : mapping
    prepare : `Preparation`
        With the detector's fixed pattern in its mask.
    """

    scene: SceneGrid
    images: list[WorkingImage | None]
    placings: list[Placing | None]
    problems: Mapping[int, str]
    assumptions: Mapping[str, str]
    prepare: Preparation

    @property
    def is_warped(self) -> bool:
        """Whether frames were sampled on the scene's grid."""
        return any(placed is not None and not placed.translation for placed in self.placings)


def load_all(
    frames: Sequence[SequenceFrame],
    modelling: Modelling,
    prepare: Preparation,
    n_jobs: int,
    progress: Progress,
) -> Loaded:
    """Read all frames.

    Parameters
    ----------
    frames : sequence of `~sunalign.sequences._frames.SequenceFrame`
        In the order of time.
    modelling : `~sunalign.geometry.observation.Modelling`
    prepare : `Preparation`
    n_jobs : `int`
        Worker processes that read files.
    progress : `bool` or callable, optional
    """
    _check_mask(frames, prepare.mask)
    scene = SceneGrid.of(_middle(frames))
    placings: list[Placing | None] = []
    problems: dict[int, str] = {}
    assumptions: dict[str, str] = {}
    for number, frame in enumerate(frames):
        try:
            placed, said = placing(scene, frame, modelling)
        except ImageError as error:
            problems[number] = str(error).rstrip(".")
            placings.append(None)
            continue
        placings.append(placed)
        assumptions |= said
    if len({p.translation for p in placings if p is not None}) > 1:
        # Sampled and native pixels side by side would look a little different: all or none.
        placings = [p if p is None else replace(p, translation=False) for p in placings]
    hot = lasting_hot_pixels(frames, placings)
    if hot is not None:
        assumptions["hot pixels"] = f"{np.count_nonzero(hot)} that all frames have left out"
        prepare = prepare.without(hot)
    pattern = detector_pattern(frames, placings, prepare)
    if pattern is not None:
        share = 100 * pattern.mean()
        assumptions["fixed pattern"] = f"{share:.2g} % of the detector stay as they are while the Sun moves: left out"
        prepare = prepare.without(pattern)
    images = reload(frames, placings, prepare, None, problems, n_jobs, progress)
    return Loaded(scene, images, placings, problems, assumptions, prepare)


def reload(
    frames: Sequence[SequenceFrame],
    placings: Sequence[Placing | None],
    prepare: Preparation,
    moved: np.ndarray | None,
    problems: dict[int, str],
    n_jobs: int,
    progress: Progress,
) -> list[WorkingImage | None]:
    """Images of all frames, those that are sampled with what they are off by taken out."""
    images: list[WorkingImage | None] = [None] * len(frames)
    wanted = [k for k, placed in enumerate(placings) if placed is not None]
    for k, made in tracked(
        _made(frames, placings, prepare, moved, wanted, n_jobs), _sized(progress, len(wanted)), "frames"
    ):
        if isinstance(made, WorkingImage):
            images[k] = made
        else:
            problems[k] = made
    return images


def _sized(progress: Progress, total: int) -> Progress:
    if not progress:
        return progress
    from sunalign._progress import bar_maker

    def bar(items: Any, desc: str) -> Any:
        return bar_maker(progress)(items, desc=desc, total=total)

    return bar


def _made(
    frames: Sequence[SequenceFrame],
    placings: Sequence[Placing | None],
    prepare: Preparation,
    moved: np.ndarray | None,
    wanted: Sequence[int],
    n_jobs: int,
) -> Any:
    def off(k: int) -> np.ndarray | None:
        return None if moved is None else moved[k]

    if n_jobs > 1 and all(frames[k].file is not None for k in wanted):
        from sunalign.model.workers import reusable_executor

        executor = reusable_executor(n_jobs)
        waiting: list[tuple[int, Any]] = []
        for k in wanted:
            # A few more than can be worked on, so that neither workers nor memory run out.
            waiting.append((k, executor.submit(_from_file, frames[k].file, placings[k], prepare, off(k))))
            if len(waiting) >= 3 * n_jobs:
                number, future = waiting.pop(0)
                yield number, future.result()
        for number, future in waiting:
            yield number, future.result()
        return
    for k in wanted:
        yield k, _guarded(frames[k].read, placings[k], prepare, off(k), frames[k].path is not None)


def _from_file(given: Path | CubeFile, placed: Placing, prepare: Preparation, moved: np.ndarray | None) -> Any:
    def read() -> tuple[np.ndarray, None]:
        file = given if isinstance(given, CubeFile) else FrameFile(given)
        try:
            return file.read(slice(None), slice(None)), None
        finally:
            file.close()

    return _guarded(read, placed, prepare, moved, True)


def _guarded(
    read: Callable[[], Any],
    placed: Placing | None,
    prepare: Preparation,
    moved: np.ndarray | None,
    is_file: bool,
) -> WorkingImage | str:
    """Image, or what is wrong with the frame: one bad frame does not end a sequence."""
    assert placed is not None
    try:
        pixels = read()
    except (OSError, ValueError, TypeError) as error:
        if not is_file:
            raise
        return f"It cannot be read ({describe_error(error)}); fetch it again"
    try:
        return prepare(pixels, placed, "It", moved)
    except ImageError as error:
        return str(error).rstrip(".")


def _middle(frames: Sequence[SequenceFrame]) -> SequenceFrame:
    """Frame next to the middle of the time, among those of the usual size."""
    shapes = [frame.head.grid.shape for frame in frames]
    usual = max({*shapes}, key=shapes.count)
    seconds = np.array([seconds_between(frames[0].date, frame.date) for frame in frames])
    far = np.abs(seconds - 0.5 * (seconds[0] + seconds[-1]))
    return frames[min((k for k in range(len(frames)) if shapes[k] == usual), key=lambda k: far[k])]


def _check_mask(frames: Sequence[SequenceFrame], mask: np.ndarray | None) -> None:
    if mask is None:
        return
    shapes = {frame.head.grid.shape for frame in frames}
    if np.asarray(mask).dtype != bool or np.shape(mask) not in shapes:
        raise AlignmentError(
            f"'target_mask' is a boolean array of the frames' shape, {sorted(shapes)[0]}, True where a pixel is to be "
            f"ignored; got {np.asarray(mask).dtype} of shape {np.shape(mask)}."
        )
