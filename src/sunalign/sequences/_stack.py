"""All frames of a sequence as they are measured: small images, and where their headers have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sunalign.sequences._correlation import Peaks, coarse_peaks, refine
from sunalign.sequences._filter import Filter, measured_filter
from sunalign.sequences._network import PairTable
from sunalign.sequences._spectra import Band, Box, spectrum
from sunalign.sequences._working import WorkingImage, binned

__all__ = ["Stack", "View"]

#: Frequencies along an axis: of the search for a displacement, and of its refinement.
COARSE, FINE = 32, 64

#: Part of a frame by which positions may differ before frames are compared in several boxes instead of one.
_ONE_BOX = 0.3
_CELL = 0.125
_CHUNK = 24
_SAMPLE = 32
_REMEMBERED = 4  # Boxes: the whole, and the quarters of its halves.


@dataclass(frozen=True, eq=False)
class View:
    """Which part of the frames is looked at.

    Parameters
    ----------
    parts : sequence of `tuple` of `float`
        Boxes, as fractions (x, y, width, height) of the whole; their correlations are added.
    """

    parts: Sequence[tuple[float, float, float, float]] = ((0.0, 0.0, 1.0, 1.0),)

    def boxes(self, whole: Box) -> list[Box]:
        """The parts, all of one size.

        Parameters
        ----------
        whole : `Box`
        """
        nx, ny = (int(size * n) for size, n in zip(self.parts[0][2:], (whole.nx, whole.ny), strict=True))
        return [
            Box(
                whole.x + min(int(x * whole.nx), whole.nx - nx), whole.y + min(int(y * whole.ny), whole.ny - ny), nx, ny
            )
            for x, y, _, _ in self.parts
        ]


WHOLE = View()
#: Two halves that share no pixel, each of two quarters that face each other across the middle.
HALVES = (View(((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5))), View(((0.5, 0.0, 0.5, 0.5), (0.0, 0.5, 0.5, 0.5))))


@dataclass(eq=False)
class Stack:
    """Working images of one scene.

    Parameters
    ----------
    images : sequence of `~sunalign.sequences._working.WorkingImage` or `None`
        In the order of time; `None` for a frame that shows nothing.
    theta : `numpy.ndarray`, shape (n, 2)
        What is to be added to the positions, in working pixels, as far as it is known; nothing by default.
    filter : `~sunalign.sequences._filter.Filter`, optional
    evidence : `~sunalign.sequences._network.PairTable`, optional
        Pairs by which the frames were placed.
    """

    images: Sequence[WorkingImage | None]
    theta: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    filter: Filter | None = None
    evidence: PairTable | None = None
    _made: dict[tuple[Box, Band], tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not len(self.theta):
            self.theta = np.zeros((len(self.images), 2))

    def coarser(self, limit: int) -> tuple[Stack, int]:
        """The same frames binned to about ``limit`` pixels, and by how much.

        Parameters
        ----------
        limit : `int`
            Of their longer sides.
        """
        sizes = self.shapes()[self.usable]
        factor = int(max(1, np.median(sizes.max(axis=1)) // limit))
        if factor == 1 or sizes.min() // factor < 24:
            return self, 1
        images = [None if image is None else _binned(image, factor) for image in self.images]
        return Stack(images, self.theta / factor), factor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def usable(self) -> np.ndarray:
        """Numbers of the frames that show something."""
        return np.array([k for k, image in enumerate(self.images) if image is not None], int)

    def at(self, theta: np.ndarray) -> Stack:
        """The same frames, placed anew.

        Parameters
        ----------
        theta : `numpy.ndarray`, shape (n, 2)
            Where they are, pixels along (x, y).
        """
        kept = self._made if np.array_equal(theta, self.theta) else {}
        return Stack(self.images, theta, self.filter, self.evidence, kept)

    def positions(self) -> np.ndarray:
        """Where pixel (0, 0) of every frame is on the scene, shape (n, 2)."""
        return np.array([(0.0, 0.0) if image is None else image.origin for image in self.images]) + self.theta

    def shapes(self) -> np.ndarray:
        """(nx, ny) of every frame."""
        return np.array([(0, 0) if image is None else image.data.shape[::-1] for image in self.images])

    def common_box(self) -> Box | None:
        """What all frames show; `None` if that is too little."""
        k = self.usable
        place, size = np.ceil(self.positions()[k] - 0.5).astype(int), self.shapes()[k]
        low, high = place.max(axis=0), (place + size).min(axis=0)
        span = high - low
        if (span < (1 - _ONE_BOX) * np.median(size, axis=0)).any() or (span < 16).any():
            return None
        return Box(int(low[0]), int(low[1]), int(span[0]), int(span[1]))

    def cells(self, pairs: np.ndarray) -> Iterator[tuple[Box, np.ndarray]]:
        """Boxes, and for each the numbers of the pairs that are compared in it.

        Parameters
        ----------
        pairs : `numpy.ndarray` of `int`, shape (m, 2)
            Numbers of frames.
        """
        common = self.common_box()
        if common is not None:
            yield common, np.arange(len(pairs))
            return
        place, size = np.ceil(self.positions() - 0.5).astype(int), self.shapes()
        low = np.maximum(place[pairs[:, 0]], place[pairs[:, 1]])
        high = np.minimum((place + size)[pairs[:, 0]], (place + size)[pairs[:, 1]])
        # Overlaps on one grid, so that many pairs share a box and a frame is transformed a few times only.
        step = np.maximum((_CELL * np.median(size[self.usable], axis=0)).astype(int), 1)
        low, high = -(-low // step) * step, high // step * step
        keys = np.concatenate([low, high - low], axis=1)
        for key in np.unique(keys, axis=0):
            if (key[2:] >= np.maximum(0.25 * np.median(size[self.usable], axis=0), 16)).all():
                yield Box(*(int(v) for v in key)), np.flatnonzero((keys == key).all(axis=1))

    def spectra(self, frames: np.ndarray, box: Box, band: Band) -> tuple[np.ndarray, np.ndarray]:
        """Spectra of a box in frames, and by how much (x, y) the box is off in each. The last ones are remembered.

        Parameters
        ----------
        frames : `numpy.ndarray` of `int`
            Numbers, in ascending order.
        box : `Box`
            On the scene.
        band : `Band`
            Frequencies that are kept.
        """
        known = self._made.get((box, band))
        if known is not None and np.isin(frames, known[0]).all():
            at = np.searchsorted(known[0], frames)
            return known[1][at], known[2][at]
        made, offset = self._spectra(frames, box, band)
        if (np.diff(frames) > 0).all():
            while len(self._made) >= _REMEMBERED:
                self._made.pop(next(iter(self._made)))
            self._made[box, band] = frames, made, offset
        return made, offset

    def _spectra(self, frames: np.ndarray, box: Box, band: Band) -> tuple[np.ndarray, np.ndarray]:
        place = self.positions()[frames]
        corner = np.rint(np.array([box.x, box.y]) - place).astype(int)
        limit = self.shapes()[frames] - np.array([box.nx, box.ny])
        corner = np.clip(corner, 0, np.maximum(limit, 0))
        # Pixel (0, 0) of the box shows this place of the scene less the box's own.
        offset = place + corner - np.array([box.x, box.y])
        made = np.stack(
            [
                spectrum(self.images[k], (int(x), int(y)), box, band, (float(fx), float(fy)))
                for k, (x, y), (fx, fy) in zip(frames, corner, offset, strict=True)
            ]
        )
        return made, offset

    def measure(
        self, pairs: np.ndarray, view: View = WHOLE, *, limit: int = FINE, search: tuple[float, float] | None = None
    ) -> PairTable:
        """Displacements of pairs.

        Parameters
        ----------
        pairs : `numpy.ndarray` of `int`, shape (m, 2)
        view : `View`
        limit : `int`
            Frequencies along an axis.
        search : `tuple` of `float`, optional
            Working pixels (x, y) within which displacements are sought from where the frames are now; by default they
            are nearly right, and the nearest maximum is meant.
        """
        m = len(pairs)
        empty = Peaks(np.zeros((m, 2)), np.full((m, 2, 2), np.nan), np.zeros(m), np.zeros(m), np.zeros(m, bool))
        for cell, chosen in self.cells(pairs):
            some = pairs[chosen]
            frames, index = np.unique(some, return_inverse=True)
            index = index.reshape(some.shape)
            peaks, offset = self._in_cell(frames, index, cell, view, limit, search)
            measured = offset[index[:, 0]] - offset[index[:, 1]] - peaks.shift
            # In terms of what is to be added to positions.
            empty.shift[chosen] = self.theta[some[:, 1]] - self.theta[some[:, 0]] + measured
            for name in ("covariance", "score", "height", "found"):
                getattr(empty, name)[chosen] = getattr(peaks, name)
        return PairTable(
            pairs[:, 0], pairs[:, 1], empty.shift, empty.covariance, empty.score, empty.height, empty.found
        )

    def with_filter(self, pairs: np.ndarray, limit: int = FINE) -> Stack:
        """The same frames, with the filter that these pairs of neighbours ask for.

        Parameters
        ----------
        pairs : `numpy.ndarray` of `int`, shape (m, 2)
            Numbers of frames.
        limit : `int`
            Frequencies along either axis, at the most.
        """
        cells = list(self.cells(pairs))
        if not cells:
            return self
        cell, chosen = max(cells, key=lambda item: len(item[1]))
        frames = np.unique(pairs[chosen])
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), _SAMPLE)).astype(int)]
        i, j = np.searchsorted(frames, pairs[chosen]).T
        band = Band.of(cell, limit)
        spectra, offset = self.spectra(frames, cell, band)
        cross = np.conj(spectra[i]) * spectra[j]
        some = spectra[np.unique(i)]
        power = np.mean(some.real**2 + some.imag**2, axis=0)
        found = measured_filter(cross, power, offset[i] - offset[j], band)
        return Stack(self.images, self.theta, found, self.evidence, self._made)

    def _in_cell(
        self,
        frames: np.ndarray,
        index: np.ndarray,
        cell: Box,
        view: View,
        limit: int,
        search: tuple[float, float] | None,
    ) -> tuple[Peaks, np.ndarray]:
        boxes = view.boxes(cell)
        # Parts of a whole keep its resolution.
        band = Band.of(boxes[0], max(8, round(limit * max(boxes[0].nx, boxes[0].ny) / max(cell.nx, cell.ny))))
        found = [self.spectra(frames, box, band) for box in boxes]
        spectra, offset = [s for s, _ in found], found[0][1]
        if self.filter is not None:
            weight = self.filter(band)
            spectra = [s * weight for s in spectra]
        energy = sum(np.einsum("nij,j->n", s.real**2 + s.imag**2, band.twice) for s in spectra)
        parts = []
        for k in range(0, len(index), _CHUNK):
            i, j = index[k : k + _CHUNK].T
            cross = np.conj(spectra[0][i]) * spectra[0][j]
            for s in spectra[1:]:
                cross += np.conj(s[i]) * s[j]
            power = np.sqrt(energy[i] * energy[j])
            windows = offset[i] - offset[j]
            start, lead = (windows, None) if search is None else coarse_peaks(cross, band, search)
            peaks = refine(cross, power, band, start, windows)
            if lead is not None:
                peaks.height[:] = np.where(peaks.found, lead, 0.0)
            parts.append(peaks)
        return Peaks.joined(parts), offset


def _binned(image: WorkingImage, factor: int) -> WorkingImage:
    data, valid = binned(image.data, factor), None
    if image.valid is not None:
        share = binned(image.valid.astype(np.float32), factor)
        valid = share > 0.75
        data = np.where(valid, data / np.maximum(share, 1e-6), 0).astype(np.float32)
    # The centre of the first bin, in bins.
    return WorkingImage(data, valid, (image.origin + (factor - 1) / 2) / factor)
