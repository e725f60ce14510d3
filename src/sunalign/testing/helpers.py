"""Small images, maps, cubes and searches that cost milliseconds, for tests of plugins.

They are made with NumPy alone; `sunalign.simulate` makes observations that look like the Sun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.optimize import OptimizeResult

import astropy.units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.time import Time
from astropy.wcs import WCS

import sunpy.map
from ndcube import NDCube
from sunpy.map import GenericMap

from sunalign.abc import Metric, Optimizer
from sunalign.alignment.search import free_parameters, limits_of, make_space, start_values
from sunalign.correction import UNITS
from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.metrics import NCC
from sunalign.model.budget import BudgetSpent
from sunalign.model.objective import Objective
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference
from sunalign.model.search_space import SearchSpace

__all__ = [
    "SmallProblem",
    "run",
    "small_cube",
    "small_file",
    "small_header",
    "small_map",
    "small_problem",
    "small_sequence",
    "smooth_image",
]

_MARGIN = 24  # Pixels by which the reference of a small problem reaches beyond its target.


def smooth_image(shape: tuple[int, int] = (48, 40), *, seed: int = 0, smoothness: float = 3.0) -> np.ndarray:
    """Random image without sharp edges.

    Parameters
    ----------
    shape : `tuple` of `int`
        ``(ny, nx)``.
    seed : `int`
        Of the random numbers.
    smoothness : `float`
        Standard deviation, in pixels, of the Gaussian that smooths white noise.

    Returns
    -------
    `numpy.ndarray`, shape (ny, nx)
        All valid, all positive, mean 100 and standard deviation 20.
    """
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smoothness, mode="reflect")
    spread = noise.std()
    return np.maximum(100 + 20 * (noise - noise.mean()) / (spread if spread > 0 else 1.0), 1.0)


def small_header(
    shape: tuple[int, int],
    *,
    scale: float | tuple[float, float] = 4.0,
    centre: tuple[float, float] = (60.0, -40.0),
    roll: float = 0.0,
) -> dict[str, Any]:
    """Header of a gnomonic helioprojective image as an observer at 1 au sees it.

    Parameters
    ----------
    shape : `tuple` of `int`
        ``(ny, nx)``.
    scale : `float` or `tuple` of `float`
        Arcseconds per pixel, or those of x and y.
    centre : `tuple` of `float`
        (Tx, Ty) in arcsec of the array's centre.
    roll : `float`
        Degrees, counter-clockwise.
    """
    sx, sy = scale if isinstance(scale, tuple) else (scale, scale)
    cos, sin = float(np.cos(np.radians(roll))), float(np.sin(np.radians(roll)))
    return {
        "ctype1": "HPLN-TAN",
        "ctype2": "HPLT-TAN",
        "cunit1": "arcsec",
        "cunit2": "arcsec",
        "crpix1": (shape[1] + 1) / 2,
        "crpix2": (shape[0] + 1) / 2,
        "crval1": float(centre[0]),
        "crval2": float(centre[1]),
        "cdelt1": float(sx),
        "cdelt2": float(sy),
        "pc1_1": cos,
        "pc1_2": -sin * sy / sx,
        "pc2_1": sin * sx / sy,
        "pc2_2": cos,
        # Both, for astropy warns where it has to work out one from the other.
        "date-obs": "2024-05-01T00:00:00.000",
        "mjd-obs": 60431.0,
        "dsun_obs": 1.496e11,
        "hgln_obs": 0.0,
        "hglt_obs": 0.0,
        "rsun_ref": 6.957e8,
        "telescop": "small",
        "bunit": "DN",
    }


def small_map(
    data: np.ndarray | None = None,
    *,
    mask: np.ndarray | None = None,
    header: Mapping[str, Any] | None = None,
    **where: Any,
) -> GenericMap:
    """Map of an image, with an uncertainty.

    Parameters
    ----------
    data : `numpy.ndarray`, optional
        A `smooth_image` by default.
    mask : `numpy.ndarray` of `bool`, optional
        True where a pixel is to be ignored.
    header : mapping, optional
        Keywords besides those of `small_header`.
    **where
        Passed to `small_header`.
    """
    data = smooth_image() if data is None else data
    uncertainty = StdDevUncertainty(np.full(data.shape, 2.0))
    meta = {**small_header(data.shape, **where), **(header or {})}
    return sunpy.map.Map(data, meta, mask=mask, uncertainty=uncertainty)


def small_cube(data: np.ndarray | None = None, *, n_wavelengths: int = 3, **where: Any) -> NDCube:
    """Cube ``(wavelength, y, x)`` that holds one image at every wavelength, with a mask, an uncertainty and a unit.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx), optional
        A `smooth_image` by default.
    n_wavelengths : `int`
        Length of the first axis.
    **where
        Passed to `small_header`.
    """
    data = smooth_image() if data is None else data
    header = {key.upper(): value for key, value in small_header(data.shape, **where).items()}
    header |= {"WCSAXES": 3, "CTYPE3": "WAVE", "CUNIT3": "Angstrom", "CRPIX3": 1.0, "CRVAL3": 977.0, "CDELT3": 0.1}
    cube = np.repeat(data[None], n_wavelengths, axis=0)
    mask = np.zeros(cube.shape, bool)
    mask[:, 0, 0] = True
    return NDCube(
        cube,
        WCS(fits.Header(header)),
        mask=mask,
        uncertainty=StdDevUncertainty(np.full(cube.shape, 2.0)),
        unit=u.DN,
        meta={"instrument": "small"},
    )


@contextmanager
def small_file(data: np.ndarray | None = None, **where: Any) -> Iterator[Path]:
    """Path of a FITS file, in a folder of its own that lasts as long as the ``with`` block.

    Parameters
    ----------
    data : `numpy.ndarray`, optional
        A `smooth_image` by default.
    **where
        Passed to `small_header`.
    """
    data = smooth_image() if data is None else data
    header = fits.Header({key.upper(): value for key, value in small_header(data.shape, **where).items()})
    with TemporaryDirectory(prefix="sunalign-") as folder:
        path = Path(folder) / "small.fits"
        fits.PrimaryHDU(data, header).writeto(path)
        yield path


class SmallProblem(NamedTuple):
    """A search whose answer is known.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    space : `~sunalign.model.search_space.SearchSpace`
    truth : `numpy.ndarray`
        Where the metric ``ncc`` scores 1, in the order of ``space``.
    """

    problem: Problem
    space: SearchSpace
    truth: np.ndarray

    def objective(self, **options: Any) -> Objective:
        """Return a new `~sunalign.model.objective.Objective`.

        Parameters
        ----------
        **options
            Of the objective: ``max_evaluations``, ``n_jobs``.
        """
        return Objective(self.problem, self.space, **options)


def small_problem(
    metric: Metric | None = None,
    *,
    fit: str | Sequence[str] = ("shift",),
    truth: Mapping[str, float] | None = None,
    start: Mapping[str, float] | None = None,
    max_shift: float = 24.0,
    shape: tuple[int, int] = (48, 40),
    smoothness: float = 3.0,
    noise: float = 0.0,
    seed: int = 0,
) -> SmallProblem:
    """Search in which one candidate costs a fraction of a millisecond.

    The pixels of target and reference measure 4 arcsec, and so does the natural step of a shift.

    Parameters
    ----------
    metric : `~sunalign.abc.Metric`, optional
        ``ncc`` by default.
    fit : `str` or sequence of `str`
        Free parameters, as in `sunalign.align`.
    truth, start : mapping, optional
        Values of parameters, in `sunalign.correction.UNITS`; by default a shift of (5.6, -4.4) arcsec is to be found
        from none.
    max_shift : `float`
        Arcseconds.
    shape : `tuple` of `int`
        Of the target; the reference reaches 24 pixels beyond.
    smoothness : `float`
        As in `smooth_image`.
    noise : `float`
        Standard deviation of what is added to the target, whose own is 20.
    seed : `int`
        Of the image and the noise.
    """
    wide = (shape[0] + 2 * _MARGIN, shape[1] + 2 * _MARGIN)
    image = Image(smooth_image(wide, seed=seed, smoothness=smoothness), _grid(wide), name="the reference")
    blank = Image(np.zeros(shape), _grid(shape), name="the target")
    names, neutral = free_parameters(fit), start_values(None, [0, 0] * u.arcsec)
    begin = {**neutral, **(start or {})}
    true = {**neutral, "shift_x": 5.6, "shift_y": -4.4, **(truth or {})}
    true = {name: true[name] if name in names else neutral[name] for name in neutral}
    problem = Problem(
        target=blank,
        reference=ImageReference.of(image, blank),
        metric=NCC() if metric is None else metric,
        base=blank.grid,
        pivot=blank.grid.centre,
        names=names,
    )
    answer = np.array([true[name] for name in names])
    data = problem.sample(answer).astype(float)
    data += np.random.default_rng([seed, 1]).normal(scale=noise, size=shape) if noise else 0.0
    limits = limits_of(names, begin, max_shift * UNITS["shift_x"], None)
    space = make_space(limits, begin, blank.grid, image.grid.pixel_size[0])
    target = Image(data, blank.grid, name="the target")
    return SmallProblem(replace(problem, target=target), space, answer)


def run(optimizer: Optimizer, objective: Objective, *, rng: np.random.Generator | int = 0) -> OptimizeResult:
    """Run an optimizer as `sunalign.align` does: where the budget ends the search, the answer is the best so far.

    Parameters
    ----------
    optimizer : `~sunalign.abc.Optimizer`
    objective : `~sunalign.model.objective.Objective`
        With the space to be searched.
    rng : `numpy.random.Generator` or `int`
        For optimizers that draw.
    """
    try:
        return optimizer.maximize(objective, objective.space, rng=np.random.default_rng(rng))
    except BudgetSpent:
        x, score = objective.best or (objective.space.start, -np.inf)
        return OptimizeResult(x=x, fun=score, success=False, message="The budget was spent.", nit=0)


def _grid(shape: tuple[int, int]) -> PixelGrid:
    header = fits.Header({key.upper(): value for key, value in small_header(shape).items()})
    return PixelGrid(WCS(header), shape)


def small_sequence(
    n_frames: int = 12,
    *,
    shape: tuple[int, int] = (64, 72),
    jitter: float = 1.0,
    noise: float = 2.0,
    cadence: u.Quantity = 1 * u.s,
    seed: int = 0,
    header: Mapping[str, Any] | None = None,
    **where: Any,
) -> tuple[list[GenericMap], u.Quantity]:
    """Frames of one scene that jump against each other, and what each header is off by.

    Parameters
    ----------
    n_frames : `int`
        Number of frames.
    shape : `tuple` of `int`
        ``(ny, nx)`` of every frame.
    jitter : `float`
        Standard deviation of the displacements, pixels.
    noise : `float`
        Standard deviation of the noise; that of the scene is 20.
    cadence : `~astropy.units.Quantity`
        Time between frames.
    seed : `int`
        Of scene, jitter and noise.
    header : mapping, optional
        Keywords besides those of `small_header`.
    **where
        Passed to `small_header`.

    Returns
    -------
    maps : `list` of `~sunpy.map.GenericMap`
    truth : `~astropy.units.Quantity`, shape (n_frames, 2)
        Shift (x, y) to be added to the coordinates of each.
    """
    rng = np.random.default_rng([seed, 7])
    wide = tuple(n + 2 * _MARGIN for n in shape)
    scene = np.fft.rfft2(smooth_image((wide[0], wide[1]), seed=seed, smoothness=2.5))
    ky, kx = 2 * np.pi * np.fft.fftfreq(wide[0])[:, None], 2 * np.pi * np.fft.rfftfreq(wide[1])
    maps, truth = [], np.zeros((n_frames, 2))
    for k in range(n_frames):
        meta = {**small_header(shape, **where), **(header or {})}
        dx, dy = jitter * rng.normal(size=2)
        # Pixel x of a frame shows what is at x + d of the scene: so much its coordinates are short of.
        moved = np.fft.irfft2(scene * np.exp(1j * (kx * dx + ky * dy)), wide)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        linear = np.array([[meta["pc1_1"], meta["pc1_2"]], [meta["pc2_1"], meta["pc2_2"]]])
        truth[k] = np.array([meta["cdelt1"], meta["cdelt2"]]) * (linear @ [dx, dy])
        date = Time(meta["date-obs"]) + k * cadence
        meta |= {"date-obs": date.isot, "mjd-obs": date.mjd}
        maps.append(sunpy.map.Map((moved + noise * rng.normal(size=shape)).astype(np.float32), meta))
    return maps, truth * u.arcsec
