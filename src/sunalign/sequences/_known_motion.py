"""What is known to happen between frames, taken out before anything is measured: rotation, observer, pixels.

All frames are laid on one scene: the sky as it was seen at the middle of the sequence, on the working grid of the frame
taken then. Where that amounts to a translation, as it does for minutes of a small field, the frame keeps its own pixels
and only its place is noted. Otherwise it is sampled on the scene's grid, for measuring only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sunalign.exceptions import ImageError
from sunalign.geometry.coordinates import PixelGrid
from sunalign.geometry.mapping import PixelMapping
from sunalign.geometry.observation import Modelling, image_transform
from sunalign.model.intensity import IntensityScaling
from sunalign.model.interpolation import SplineImage
from sunalign.sequences._frames import Moment, SequenceFrame
from sunalign.sequences._working import WorkingImage, factor_for, working_image

__all__ = ["Placing", "SceneGrid", "placed_pixels", "placing"]

#: Working pixels by which a frame may deviate from a mere translation.
_TRANSLATION = 0.1
_NET = 9

_TURNED = "It shows nothing of what the middle of the sequence does: the Sun has turned too far."


@dataclass(frozen=True, eq=False)
class SceneGrid:
    """Where the scene is.

    Parameters
    ----------
    head : `~sunalign.sequences._frames.Moment`
        Of the frame in the middle of the sequence.
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        Its grid, binned.
    factor : `int`
        By how much.
    """

    head: Moment
    grid: PixelGrid
    factor: int

    @classmethod
    def of(cls, frame: SequenceFrame) -> SceneGrid:
        """Scene of a sequence with this frame in its middle.

        Parameters
        ----------
        frame : ``SequenceFrame``
        """
        factor = factor_for(frame.head.grid.shape)
        return cls(frame.head, frame.head.grid.binned(factor, factor), factor)


@dataclass(frozen=True, eq=False)
class Placing:
    """How a frame lies on the scene, as its header has it.

    Parameters
    ----------
    mapping : `~sunalign.geometry.mapping.PixelMapping`
        Scene working pixels to the frame's working pixels.
    factor : `int`
        Pixels along the side of one of the frame's bins.
    origin : `numpy.ndarray`, shape (2,)
        Scene working pixel (x, y) on which the frame's first working pixel falls.
    translation : `bool`
        Whether that is all there is to it.
    jacobian : `numpy.ndarray`, shape (2, 2)
        Frame working pixels by scene working pixels, where the frame is.
    carried : `numpy.ndarray`, shape (2,)
        Part of ``origin`` that is the Sun's rotation and the observer's motion, not the header's pointing.
    """

    mapping: PixelMapping
    factor: int
    origin: np.ndarray
    translation: bool
    jacobian: np.ndarray
    carried: np.ndarray

    def sky(self, theta: np.ndarray) -> np.ndarray:
        """Shift on the sky that moves the frame on the scene.

        Parameters
        ----------
        theta : `numpy.ndarray`, shape (2,)
            Along (x, y), pixels of the scene.

        Returns
        -------
        `numpy.ndarray`, shape (2,)
            Radians towards (+Tx, +Ty).
        """
        return self._on_sky @ theta

    @property
    def _on_sky(self) -> np.ndarray:
        grid = self.mapping.reference
        return grid.jacobian(*grid.centre) @ self.jacobian

    def sky_covariance(self, covariance: np.ndarray) -> np.ndarray:
        """Of that shift, from the covariance of ``theta``.

        Parameters
        ----------
        covariance : `numpy.ndarray`, shape (2, 2)
            In pixels of the scene.
        """
        return self._on_sky @ covariance @ self._on_sky.T

    def scene_shift(self, sky: np.ndarray) -> np.ndarray:
        """Inverse of `sky`.

        Parameters
        ----------
        sky : `numpy.ndarray`, shape (2,)
            Radians towards (+Tx, +Ty).
        """
        return np.linalg.solve(self._on_sky, sky)


def placing(scene: SceneGrid, frame: SequenceFrame, modelling: Modelling) -> tuple[Placing, Mapping[str, str]]:
    """How a frame lies on the scene, and what was assumed for that.

    Parameters
    ----------
    scene : `SceneGrid`
    frame : ``SequenceFrame``
    modelling : `~sunalign.geometry.observation.Modelling`
    """
    transform, assumptions = (
        (None, {}) if frame.head is scene.head else image_transform(scene.head, frame.head, modelling)
    )
    size = np.sqrt(np.prod(scene.grid.pixel_size) / np.prod(frame.head.grid.pixel_size))
    factor = max(1, round(float(size)))
    grid = frame.head.grid.binned(factor, factor)
    # A moment has one time for all columns, so that binning changes nothing for its transform.
    mapping = PixelMapping(scene.grid, grid, transform)
    x, y, px, py = _meeting(mapping)
    origin = np.array([(x - px).mean(), (y - py).mean()])
    off = np.hypot(x - px - origin[0], y - py - origin[1])
    jacobian = np.asarray(mapping.jacobian(np.array(x.mean()), np.array(y.mean())), float)
    carried = np.zeros(2)
    if transform is not None:
        fx, fy = PixelMapping(scene.grid, grid)(x, y)
        carried = np.array([np.nanmean(fx - px), np.nanmean(fy - py)])
    return Placing(mapping, factor, origin, bool(off.max() < _TRANSLATION), jacobian, carried), assumptions


def _meeting(mapping: PixelMapping) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points of the scene that fall on the frame, and where on it they do."""
    ny, nx = mapping.reference.shape
    x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, _NET), np.linspace(-0.5, ny - 0.5, _NET))
    gx, gy = (np.linspace(-0.5, n - 0.5, _NET) for n in mapping.target.shape[::-1])
    sx, sy = np.meshgrid(gx, gy)
    px, py = mapping(sx, sy)
    if not np.isfinite(px).any():
        raise ImageError(_TURNED)
    # Two steps towards the points that hit the frame itself, wherever it points.
    for _ in range(2):
        near = np.isfinite(px) & np.isfinite(py)
        shift = np.nanmedian((sx - px)[near]), np.nanmedian((sy - py)[near])
        sx, sy = x + shift[0], y + shift[1]
        px, py = mapping(sx, sy)
    seen = np.isfinite(px) & np.isfinite(py)
    if np.count_nonzero(seen) < 9:
        raise ImageError(_TURNED)
    return sx[seen], sy[seen], px[seen], py[seen]


def placed_pixels(
    data: np.ndarray,
    mask: np.ndarray | None,
    placed: Placing,
    scaling: IntensityScaling,
    name: str,
    moved: np.ndarray | None = None,
) -> WorkingImage:
    """What is kept of a frame's pixels, on its own grid or on the scene's.

    Parameters
    ----------
    data, mask : `numpy.ndarray`, shape (ny, nx)
        Of the frame; the mask is True where a pixel is to be ignored, or `None`.
    placed : `Placing`
    scaling : `~sunalign.model.intensity.IntensityScaling`
    name : `str`
        For messages.
    moved : `numpy.ndarray`, shape (2,), optional
        Scene working pixels by which the frame is known to be off, taken out before it is sampled.
    """
    image = working_image(data, mask, placed.factor, scaling, name)
    if placed.translation:
        return WorkingImage(image.data, image.valid, placed.origin)
    return _on_scene(image, placed, np.zeros(2) if moved is None else moved)


def _on_scene(image: WorkingImage, placed: Placing, moved: np.ndarray) -> WorkingImage:
    """Sampled on the scene's grid, where the frame covers it."""
    ny, nx = image.data.shape
    values = image.data if image.valid is None else np.where(image.valid, image.data, np.nan)
    reach = np.abs(np.linalg.inv(placed.jacobian)) @ np.array([nx, ny])
    middle = placed.origin + np.array([nx - 1, ny - 1]) / 2
    # A sphere is wider than the plane that touches it.
    low = np.floor(middle - 0.55 * reach).astype(int)
    high = np.ceil(middle + 0.55 * reach).astype(int) + 1
    x, y = np.meshgrid(np.arange(low[0], high[0], dtype=float), np.arange(low[1], high[1], dtype=float))
    px, py = placed.mapping(x, y)
    off = placed.jacobian @ moved
    sampled = SplineImage(values).sample(px - off[0], py - off[1])
    valid = np.isfinite(sampled)
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if len(rows) < 8 or len(columns) < 8:
        raise ImageError("It shows nothing of the scene once the Sun's rotation is taken out.")
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    sampled, valid = sampled[part], valid[part]
    data = np.where(valid, sampled, 0).astype(np.float32)
    origin = np.array([low[0] + columns[0], low[1] + rows[0]], float)
    return WorkingImage(data, None if valid.all() else valid, origin)
