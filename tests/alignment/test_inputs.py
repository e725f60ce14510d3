"""Bad input: each kind of it has its own clear error, or a flag on the result.

``CASES`` is read by test_messages.py too, which looks at the words of all of them together.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.time import Time
from astropy.wcs import WCS

import sunpy.map
from ndcube import NDCube

import sunalign
import sunalign.files.io
import sunalign.images.cubes
from sunalign import Correction
from sunalign.abc import Corrector, Metric, Optimizer, ReferenceBuilder
from sunalign.exceptions import (
    AlignmentDoubtError,
    AlignmentError,
    CorrectionError,
    CoverageError,
    ImageError,
    PluginError,
    SunalignUserWarning,
    UnknownPluginError,
)
from sunalign.images import to_image
from sunalign.metrics import NCC
from sunalign.optimizers import HillClimb
from sunalign.pointing import Template, step
from sunalign.testing.helpers import small_cube, small_header, small_map, smooth_image

plugin = dataclass(frozen=True, kw_only=True)

SCENE = smooth_image((80, 80), seed=5)
DATA = SCENE[16:-16, 20:-20]
REFERENCE = small_map(SCENE)
TARGET = small_map(DATA, centre=(52.0, -37.0))
MAX_SHIFT = 30 * u.arcsec


def align(target=TARGET, reference=REFERENCE, **options):
    return sunalign.align(target, reference, **{"max_shift": MAX_SHIFT} | options)


def header_of(*without, **cards):
    """Header of the small image with some cards replaced, or left out."""
    header = small_header(DATA.shape) | {key.lower(): value for key, value in cards.items()}
    return {key: value for key, value in header.items() if key not in without}


def given(*without, **cards):
    """The small image with such a header."""
    return DATA, header_of(*without, **cards)


def write(path, data=DATA, **cards):
    """The small image, or other data, as a FITS file."""
    fits.PrimaryHDU(data, fits.Header({key.upper(): value for key, value in header_of(**cards).items()})).writeto(path)
    return path


# Plugins that misbehave.


@plugin
class Raising(NCC):
    def score(self, reference, target, mask):
        raise ZeroDivisionError("by the author's own zero")


@plugin
class Nowhere(NCC):
    def score(self, reference, target, mask):
        return np.nan


@plugin
class Verbose(NCC):
    def score(self, reference, target, mask):
        return "very good"


@plugin
class WholeImage(NCC):
    def score(self, reference, target, mask):
        return reference * target


@plugin
class Breaking(Optimizer):
    def maximize(self, objective, space, *, rng):
        raise KeyError("shift_z")


def returning(name, answer):
    """An optimizer that returns what ``answer`` makes of the space."""

    def maximize(self, objective, space, *, rng):
        return answer(space)

    return plugin(type(name, (Optimizer,), {"maximize": maximize}))()


def found(**fields):
    return OptimizeResult(**{"fun": 0.5, "success": True, "message": ""} | fields)


def building(name, answer):
    """A reference builder that returns what ``answer`` makes of its one reference."""

    def build(self, references, target):
        return answer(references[0])

    return plugin(type(name, (ReferenceBuilder,), {"build": build}))()


@plugin
class BreakingBuilder(ReferenceBuilder):
    def build(self, references, target):
        raise AttributeError("'NoneType' object has no attribute 'wcs'")


@plugin
class BreakingCorrector(Corrector):
    def apply(self, target, correction, *, provenance=None):
        raise AttributeError("'Correction' object has no attribute 'shear_x'")


@plugin
class Forgetting(Corrector):
    def apply(self, target, correction, *, provenance=None):
        return None


@plugin
class OnlyShift(Corrector):
    parameters = frozenset({"shift_x", "shift_y"})

    def apply(self, target, correction, *, provenance=None):
        return target


@plugin
class SecondBudget(NCC):
    max_iter: int = 3


# Files.


def truncated(folder):
    path = write(folder / "cut.fits")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def text(folder):
    path = folder / "notes.txt"
    path.write_text("This is no image.\n" * 200)
    return path


def without_image(folder):
    path = folder / "table.fits"
    columns = [fits.Column("t", "D", array=np.arange(3.0))]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def cube_file(folder):
    path = folder / "cube.fits"
    header = small_cube(DATA).wcs.to_header()
    fits.PrimaryHDU(np.repeat(DATA[None], 3, axis=0), header).writeto(path)
    return path


def empty_file(folder):
    path = folder / "empty.fits"
    path.touch()
    return path


def plain_file(folder):
    path = folder / "plain.fits"
    fits.PrimaryHDU(DATA).writeto(path)
    return path


NAN = np.full(DATA.shape, np.nan)


# Coordinates that cannot be, through every door.


def wcs_of(**cards):
    """A WCS that may be unusable: one made from a header would refuse at once."""
    header = header_of(**cards)
    wcs = WCS(naxis=2)
    for i in (1, 2):
        for name in ("ctype", "cunit", "crpix", "crval", "cdelt"):
            values = list(getattr(wcs.wcs, name))
            values[i - 1] = header[f"{name}{i}"]
            setattr(wcs.wcs, name, values)
    wcs.wcs.pc = [[header[f"pc{i}_{j}"] for j in (1, 2)] for i in (1, 2)]
    return wcs


#: Door to what it makes of the small image with other cards in its header.
DOORS = {
    "map": lambda _, **cards: sunpy.map.Map(*given(**cards)),
    "data and header": lambda _, **cards: given(**cards),
    "data and WCS": lambda _, **cards: (DATA, wcs_of(**cards)),
    "cube": lambda _, **cards: NDCube(DATA, wcs_of(**cards)),
    "file": lambda folder, **cards: write(folder / "given.fits", **cards),
}

#: Fault to (cards, words for an image, words for a correction).
FAULTS = {
    "CDELT1 of 0": (
        {"CDELT1": 0.0},
        r"has CDELT1 = 0, as a sit-and-stare .*mend CDELT1\.",
        r"has CDELT1 = 0, as a sit-",
    ),
    "CDELT2 of 0": ({"CDELT2": 0.0}, r"has CDELT2 = 0: all pixels .* at one latitude", r"has CDELT2 = 0: all pixels"),
    "singular matrix": (
        {"PC1_1": 0.0, "PC1_2": 0.0},
        r"celestial axes that cannot be used: their matrix is singular",
        r"celestial axes that cannot be used: their matrix is singular",
    ),
    "matrix of one line": (
        {"PC1_1": 1.0, "PC1_2": 1.0, "PC2_1": 1.0, "PC2_2": 1.0},
        r"(singular PC matrix: both pixel axes lead along one line|their matrix is singular)",
        r"(singular PC matrix: both pixel axes lead along one line|their matrix is singular)",
    ),
    "degrees under arcsec": (
        {"CDELT1": 4 / 3600, "CDELT2": 4 / 3600},
        r"pixels of 0\.00111 x 0\.00111 arcsec \(CDELT1 and CDELT2\), and so a field of 0\.0444 x 0\.0533 arcsec.*"
        r"Check CUNIT1 and CUNIT2: the numbers look like degrees",
        r"pixels of 0\.00111 x 0\.00111 arcsec \(CDELT1 and CDELT2\).*the numbers look like degrees",
    ),
    "degrees under arcsec along y": (
        {"CDELT2": 4 / 3600},
        r"pixels of 4 x 0\.00111 arcsec \(CDELT1 and CDELT2\).*Check CUNIT2: the numbers look like degrees",
        r"pixels of 4 x 0\.00111 arcsec .*Check CUNIT2: the numbers look like degrees",
    ),
    "latitude beyond the pole": (
        {"CRVAL2": 340000.0},
        r"has CRVAL2 = (340000 arcsec|94.4444 deg), which is no latitude\. Check CUNIT2",
        r"has CRVAL2 = (340000 arcsec|94.4444 deg), which is no latitude",
    ),
}

CORRECTION = Correction.from_parameters(3 * u.arcsec, -2 * u.arcsec)


#: What an image is wanted for to the class of the error, and what is done with it.
USES = {
    "as target": (ImageError, align),
    "as reference": (ImageError, lambda image: align(reference=image)),
    "to correct": (CorrectionError, lambda image: sunalign.correct(image, CORRECTION)),
}


def fault_cases():
    for fault, (cards, image_words, words) in FAULTS.items():
        for door, make in DOORS.items():
            for name, (cls, use) in USES.items():

                def act(folder, make=make, cards=cards, use=use):
                    return use(make(folder, **cards))

                yield f"{fault}, {door} {name}", (act, cls, image_words if cls is ImageError else words)


def squeezed(shape, **cards):
    """What is left of one slit position, with the header that tells it."""
    header = small_header(DATA.shape) | {"NAXIS": len(shape)} | cards
    header |= {f"NAXIS{len(shape) - i}": n for i, n in enumerate(shape)}
    left = [n for n in shape if n > 1]
    return np.arange(np.prod(left), dtype=float).reshape(left), header


def axes_file(folder, shape, **cards):
    return write(folder / "position.fits", np.arange(np.prod(shape), dtype=float).reshape(shape), **cards)


WAVE = {"CTYPE3": "WAVE", "CUNIT3": "nm", "CRVAL3": 70.0, "CDELT3": 0.01, "CRPIX3": 1.0}
TIME = {"CTYPE3": "UTC", "CUNIT3": "s", "CRVAL3": 0.0, "CDELT3": 1.0, "CRPIX3": 1.0}


def closed(folder):
    """A folder where nothing can be created, not even by root."""
    if os.geteuid() == 0:
        return Path("/sys")
    inside = folder / "closed"
    inside.mkdir(mode=0o500)
    return inside


def second_on_sky(folder, **cards):
    path = folder / "two.fits"
    header = {k.upper(): v for k, v in small_header(DATA.shape, centre=(52.0, -37.0)).items()} | cards
    fits.HDUList([fits.PrimaryHDU(np.ones((7, 9))), fits.ImageHDU(DATA, fits.Header(header))]).writeto(path)
    return path


#: Name to (what is done, with a folder for files; class of the error; a pattern of its words).
CASES = {
    # The images.
    "no overlap": (
        lambda _: align(small_map(DATA, centre=(3000.0, 0.0))),
        CoverageError,
        r"does not cover .* arcsec of the target",
    ),
    "CRVAL1 of NaN": (
        lambda _: align(given(crval1=np.nan)),
        ImageError,
        r"The header has CRVAL1 = nan, which is no finite number; mend CRVAL1",
    ),
    "CRVAL1 of words": (
        lambda _: align(given(crval1="abc")),
        ImageError,
        r"The header has CRVAL1 = 'abc', which is no finite number; mend CRVAL1",
    ),
    "PC1_2 of NaN in a correction": (
        lambda _: sunalign.correct(given(pc1_2=np.nan), CORRECTION),
        CorrectionError,
        r"The header has PC1_2 = nan, which is no finite number; mend PC1_2",
    ),
    "observer of NaN": (
        lambda _: align(given(hgln_obs=np.nan)),
        ImageError,
        r"The header has HGLN_OBS = nan, which is no finite number; mend HGLN_OBS or remove it",
    ),
    "no header": (
        lambda _: align((DATA, None)),
        ImageError,
        r"a FITS header, a dict of its cards or a WCS; got NoneType",
    ),
    "equatorial coordinates": (
        lambda _: align(given(ctype1="RA---TAN", ctype2="DEC--TAN")),
        ImageError,
        r"has CTYPE1 = RA---TAN and CTYPE2 = DEC--TAN, which are no coordinates on the Sun",
    ),
    "galactic coordinates of a reference": (
        lambda _: align(reference=(SCENE, small_header(SCENE.shape) | {"ctype1": "GLON-TAN", "ctype2": "GLAT-TAN"})),
        ImageError,
        r"has CTYPE1 = GLON-TAN and CTYPE2 = GLAT-TAN, which are no coordinates on the Sun",
    ),
    "Carrington coordinates of a target": (
        lambda _: align(given(ctype1="CRLN-CAR", ctype2="CRLT-CAR")),
        AlignmentError,
        r"has CTYPE1 = CRLN-CAR: a map in heliographic coordinates, .* reference of 'carrington'",
    ),
    "a drift that is misspelt": (
        lambda _: align(fit=("shift", "drfit")),
        AlignmentError,
        r"'fit' has no parameter 'drfit'; choose among shift, .*, drift, height",
    ),
    "drift alone": (
        lambda _: align(fit="drift"),
        AlignmentError,
        r"'fit' has drift alone, .* fit=\('shift', 'drift'\)",
    ),
    "options of a drift without one": (
        lambda _: align(drift_time=20 * u.min),
        AlignmentError,
        r"'drift_time', .* say how a drift is fitted, and 'fit' has none; add drift",
    ),
    "drift of a snapshot": (
        lambda _: align(fit=("shift", "drift")),
        AlignmentError,
        r"has one time for all columns, as a snapshot has.*leave drift out of fit.*'drift_knots'",
    ),
    "all-NaN target": (
        lambda _: align(small_map(NAN)),
        AlignmentError,
        r"The target .* has no valid pixel: all are NaN",
    ),
    "all-masked target": (
        lambda _: align(target_mask=np.ones(DATA.shape, bool)),
        AlignmentError,
        r"has no valid pixel.*target_mask",
    ),
    "limits beyond all": (
        lambda _: align(target_limits=(1e9, None)),
        AlignmentError,
        r"has no valid pixel.*target_limits",
    ),
    "constant target": (
        lambda _: align(small_map(np.full(DATA.shape, 7.0))),
        AlignmentError,
        r"is constant: every valid pixel is 7, so there is nothing to align",
    ),
    "a few pixels": (lambda _: align(small_map(SCENE[:3, :3])), AlignmentError, r"only 9 valid pixels; at least 16"),
    "all-NaN reference": (
        lambda _: align(reference=small_map(SCENE * np.nan)),
        CoverageError,
        r"The reference .* has no valid pixel",
    ),
    "constant reference": (
        lambda _: align(reference=small_map(np.full(SCENE.shape, 7.0))),
        AlignmentError,
        r"constant",
    ),
    "no references": (lambda _: align(reference=[]), AlignmentError, r"The list of references is empty"),
    "no references left": (lambda _: align(reference=iter(())), AlignmentError, r"The list of references is empty"),
    "no celestial WCS": (
        lambda _: align(given("ctype1", "ctype2")),
        ImageError,
        r"no celestial axes .* HPLN-TAN and HPLT-TAN are needed",
    ),
    "spectral WCS": (
        lambda _: align((DATA, WCS(fits.Header({"CTYPE1": "WAVE", "CUNIT1": "nm", "CTYPE2": "STOKES"})))),
        ImageError,
        r"no celestial axes \(CTYPE: WAVE, STOKES\)",
    ),
    "a number": (lambda _: align(3), ImageError, r"An image is a sunpy Map, .*; got int"),
    "a bare array": (lambda _: align(DATA), ImageError, r"got ndarray"),
    "None for a reference": (lambda _: align(reference=None), ImageError, r"got NoneType"),
    "a triple": (lambda _: align((DATA, DATA, DATA)), ImageError, r"A tuple is \(data, header\) or \(data, wcs\)"),
    "three-dimensional data": (
        lambda _: align((np.ones((3, 4, 5)), header_of())),
        ImageError,
        r"have two dimensions; these have 3",
    ),
    "target mask of a wrong shape": (
        lambda _: align(target_mask=np.zeros((3, 3), bool)),
        AlignmentError,
        r"'target_mask' is a boolean array of the target's shape \(48, 40\).*got bool of shape \(3, 3\)",
    ),
    "reference mask of a wrong type": (
        lambda _: align(reference_mask=np.zeros(SCENE.shape)),
        AlignmentError,
        r"'reference_mask' is a boolean array .*got float64",
    ),
    "limits in a wrong order": (
        lambda _: align(target_limits=(5.0, 1.0)),
        AlignmentError,
        r"'target_limits' is \(lower, upper\) with lower < upper",
    ),
    "one limit": (lambda _: align(reference_limits=(5.0,)), AlignmentError, r"'reference_limits' is \(lower, upper\)"),
    "a number for limits": (lambda _: align(target_limits=5.0), AlignmentError, r"'target_limits' is \(lower, upper\)"),
    # The files.
    "truncated FITS": (lambda folder: align(truncated(folder)), ImageError, r"cut\.fits.*truncated"),
    "a text file": (
        lambda folder: align(text(folder)),
        ImageError,
        r"notes\.txt cannot be read as FITS: it does not begin with",
    ),
    "an empty file": (lambda folder: align(empty_file(folder)), ImageError, r"empty\.fits.* cannot be read as FITS"),
    "a directory": (lambda folder: align(folder), ImageError, r"is a directory; give one FITS file"),
    "no such file": (lambda folder: align(folder / "none.fits"), ImageError, r"There is no file .*none\.fits"),
    "no such file, as text": (lambda folder: align(str(folder / "none.fits")), ImageError, r"There is no file"),
    "FITS without an image": (lambda folder: align(without_image(folder)), ImageError, r"table\.fits holds no image"),
    "FITS cube": (
        lambda folder: align(cube_file(folder)),
        ImageError,
        r"cube\.fits holds a cube of shape \(3, 48, 40\)",
    ),
    "FITS without a WCS": (lambda folder: align(plain_file(folder)), ImageError, r"no celestial axes"),
    "reference that is a text file": (
        lambda folder: align(reference=text(folder)),
        ImageError,
        r"cannot be read as FITS",
    ),
    # Units and numbers.
    "bare max_shift": (
        lambda _: align(max_shift=30),
        TypeError,
        r"'max_shift' .*is an angle with a unit, such as 30 \* u\.arcsec; got 30",
    ),
    "max_shift in km": (lambda _: align(max_shift=30 * u.km), u.UnitsError, r"'max_shift' .*unit 'km'"),
    "max_shift of 0": (lambda _: align(max_shift=0 * u.arcsec), AlignmentError, r"'max_shift' is larger than 0"),
    "two max_shifts": (
        lambda _: align(max_shift=[3, 4] * u.arcsec),
        (TypeError, AlignmentError),
        r"'max_shift' .*one angle",
    ),
    "max_shift below a pixel": (
        lambda _: align(max_shift=0.5 * u.arcsec),
        AlignmentError,
        r"Shifts of up to 0\.5 arcsec are smaller than a pixel: 4 arcsec \(target\).*Raise max_shift",
    ),
    "bare bounds": (lambda _: align(bounds={"shift_x": (-3, 3)}), TypeError, r"'bounds' of shift_x is an angle"),
    "bounds in a wrong unit": (
        lambda _: align(bounds={"shift_x": (-3, 3) * u.s}),
        u.UnitsError,
        r"'bounds' of shift_x is an angle; -3\.0 s has unit 's'",
    ),
    "bounds with one end": (lambda _: align(bounds={"shift_x": 3 * u.arcsec}), AlignmentError, r"are \(lower, upper\)"),
    "bounds upside down": (
        lambda _: align(bounds={"shift_x": (3, -3) * u.arcsec}),
        AlignmentError,
        r"The bounds of shift_x satisfy lower < upper",
    ),
    "bounds of what is not free": (
        lambda _: align(bounds={"scale_x": (0.9, 1.1)}),
        AlignmentError,
        r"'scale_x', which is not free; free are shift_x, shift_y",
    ),
    "scale bound of 0": (
        lambda _: align(fit="scale", bounds={"scale_x": (0.0, 1.1)}),
        AlignmentError,
        r"A scale is larger than 0; the lower bound of scale_x is 0",
    ),
    "scale bound below 0": (
        lambda _: align(fit="scale", bounds={"scale_y": (-1.0, 1.1)}),
        AlignmentError,
        r"A scale is larger than 0; the lower bound of scale_y is -1",
    ),
    "scale in arcsec": (
        lambda _: align(fit="scale", bounds={"scale_x": (0.9, 1.1) * u.arcsec}),
        u.UnitsError,
        r"'bounds' of scale_x is a plain number",
    ),
    "scale in words": (
        lambda _: align(fit="scale", bounds={"scale_x": ("small", "large")}),
        (TypeError, AlignmentError),
        r"'bounds' of scale_x is a plain number",
    ),
    "start outside the bounds": (
        lambda _: align(start={"shift_x": 50 * u.arcsec}, bounds={"shift_x": (-10, 10) * u.arcsec}),
        AlignmentError,
        r"The start of shift_x, 50, is outside its bounds -10 to 10",
    ),
    "bare start": (lambda _: align(start={"shift_x": 5}), TypeError, r"'start' of shift_x is an angle"),
    "start of an unknown parameter": (
        lambda _: align(start={"shear": 5}),
        AlignmentError,
        r"'start' has no parameter 'shear'; choose among shift_x",
    ),
    "start from a file that is not there": (
        lambda folder: align(start=folder / "trend.ecsv"),
        AlignmentError,
        r"There is no file .*trend\.ecsv to start from",
    ),
    "start from a table without times": (
        lambda _: align(start=QTable({"shift_x": [1.0] * u.arcsec})),
        AlignmentError,
        r"A table to start from has a column 'time' of times",
    ),
    "start from a table without unit": (
        lambda _: align(start=QTable({"time": Time(["2024-01-01"]), "shift_x": [1.0]})),
        AlignmentError,
        r"The column shift_x of a table to start from is in arcsec; this one is in no unit",
    ),
    "start that is a number": (lambda _: align(start=5), TypeError, r"'start' is a Correction or a mapping"),
    "start with a scale of 0": (lambda _: align(start={"scale_x": 0.0}), AlignmentError, r"A scale is larger than 0"),
    "start that is NaN": (
        lambda _: align(start={"shift_x": np.nan * u.arcsec}),
        AlignmentError,
        r"'start' of shift_x is a finite",
    ),
    "bare pivot": (lambda _: align(pivot=(3, 4)), TypeError, r"'pivot' is a Quantity \(Tx, Ty\)"),
    "pivot of three": (lambda _: align(pivot=[3, 4, 5] * u.arcsec), TypeError, r"'pivot' is a Quantity \(Tx, Ty\)"),
    "fit of nothing": (lambda _: align(fit=()), AlignmentError, r"'fit' names no parameter"),
    "fit of an unknown parameter": (
        lambda _: align(fit="shear"),
        AlignmentError,
        r"'fit' has no parameter 'shear'; choose among shift, scale",
    ),
    "no jobs": (lambda _: align(n_jobs=0), ValueError, r"'n_jobs' is a number of processes.*got 0"),
    "minus two jobs": (lambda _: align(n_jobs=-2), ValueError, r"'n_jobs' is a number of processes.*got -2"),
    "half a job": (lambda _: align(n_jobs=1.5), ValueError, r"'n_jobs' is a number of processes.*got 1\.5"),
    "no evaluations": (lambda _: align(max_evaluations=0), ValueError, r"'max_evaluations' is .*got 0"),
    "overlap above 1": (lambda _: align(min_overlap=1.5), ValueError, r"'min_overlap' is a fraction.*got 1\.5"),
    "overlap below 0": (lambda _: align(min_overlap=-0.1), ValueError, r"'min_overlap' is a fraction.*got -0\.1"),
    "unknown doubt": (
        lambda _: align(on_doubt="cry"),
        ValueError,
        r"'on_doubt' is 'warn', 'raise' or 'ignore'; got 'cry'",
    ),
    "unknown scaling": (lambda _: align(scaling="cubic"), ValueError, r"'?scaling.*'cubic'"),
    "unknown working grid": (lambda _: align(working_grid="moon"), ValueError, r"'working_grid' is .*'moon'"),
    "progress of 3": (lambda _: align(progress=3), TypeError, r"'progress' is True, False or a callable"),
    "rng of words": (lambda _: align(rng="dice"), (TypeError, ValueError), r"'rng' is a numpy.random.Generator"),
    # The plugins by name and their options.
    "unknown optimizer": (
        lambda _: align(optimizer="hil-climb"),
        UnknownPluginError,
        r"There is no optimizer named 'hil-climb'\. Did you mean 'hill-climb'\?",
    ),
    "unknown metric": (lambda _: align(metric="ncx"), UnknownPluginError, r"There is no metric named 'ncx'"),
    "a number for a metric": (
        lambda _: align(metric=3),
        TypeError,
        r"A metric is a name, a class .*3 is none of these",
    ),
    "metric for an optimizer": (lambda _: align(optimizer=NCC()), TypeError, r"An optimizer is a name"),
    "misspelt option": (
        lambda _: align(optimizer="hill-climb", n_neighbours=3),
        TypeError,
        r"No chosen plugin has an option named 'n_neighbours'\. Did you mean 'n_neighbors'\?",
    ),
    "misspelt keyword": (
        lambda _: align(max_shit=3 * u.arcsec),
        TypeError,
        r"option named 'max_shit'\. Did you mean 'max_shift'\?",
    ),
    "option of two": (
        lambda _: align(metric=SecondBudget, optimizer="hill-climb", max_iter=3),
        TypeError,
        r"'max_iter' belongs to the metric SecondBudget and the optimizer HillClimb",
    ),
    "option of an instance": (
        lambda _: align(optimizer=HillClimb(), n_neighbors=3),
        TypeError,
        r"passed as an instance; set it there",
    ),
    "option out of range": (
        lambda _: align(optimizer="hill-climb", n_neighbors=0),
        ValueError,
        r"'n_neighbors' is at least 1",
    ),
    "two references for one image": (
        lambda _: align(reference=[REFERENCE, REFERENCE], reference_builder="image"),
        AlignmentError,
        r"'image' takes one image, and 2 were given",
    ),
    # Plugins that misbehave.
    "metric that raises": (
        lambda _: align(metric=Raising()),
        PluginError,
        r"The metric Raising failed in score\(\): ZeroDivisionError: by the author's own zero",
    ),
    "metric that gives NaN": (lambda _: align(metric=Nowhere()), AlignmentError, r"No trial pointing has a score"),
    "metric that gives words": (lambda _: align(metric=Verbose()), PluginError, r"The metric Verbose returned str"),
    "metric that gives an image": (
        lambda _: align(metric=WholeImage()),
        PluginError,
        r"The metric WholeImage returned ndarray; a score is a float",
    ),
    "optimizer that raises": (
        lambda _: align(optimizer=Breaking()),
        PluginError,
        r"The optimizer 'Breaking' failed: KeyError: 'shift_z'",
    ),
    "optimizer that gives nothing": (
        lambda _: align(optimizer=returning("Returning", lambda _: None)),
        PluginError,
        r"The optimizer 'Returning' returned NoneType; .*scipy OptimizeResult",
    ),
    "optimizer that gives an array": (
        lambda _: align(optimizer=returning("ReturningArray", lambda _: np.zeros((500, 500)))),
        PluginError,
        r"The optimizer 'ReturningArray' returned ndarray; it has",
    ),
    "optimizer that gives no score": (
        lambda _: align(optimizer=returning("ReturningNoScore", lambda space: OptimizeResult(x=space.start))),
        PluginError,
        r"'ReturningNoScore' returned a result without fun and success",
    ),
    "optimizer that gives NaN": (
        lambda _: align(optimizer=returning("ReturningNaN", lambda space: found(x=space.start * np.nan))),
        PluginError,
        r"'ReturningNaN' returned",
    ),
    "optimizer that gives a NaN score": (
        lambda _: align(optimizer=returning("ReturningNaNScore", lambda space: found(x=space.start, fun=np.nan))),
        AlignmentError,
        r"No trial pointing",
    ),
    "optimizer that leaves the bounds": (
        lambda _: align(optimizer=returning("ReturningOutside", lambda space: found(x=space.upper + 1))),
        PluginError,
        r"'ReturningOutside' returned a point outside the bounds",
    ),
    "optimizer with five numbers": (
        lambda _: align(optimizer=returning("ReturningTooMany", lambda _: found(x=np.zeros(5)))),
        PluginError,
        r"'ReturningTooMany' returned .*x of 2 numbers",
    ),
    "optimizer with words": (
        lambda _: align(optimizer=returning("ReturningWords", lambda _: found(x=["left", "right"]))),
        PluginError,
        r"'ReturningWords' returned",
    ),
    "optimizer with a score of words": (
        lambda _: align(optimizer=returning("ReturningWordsForScore", lambda space: found(x=space.start, fun="good"))),
        PluginError,
        r"'ReturningWordsForScore' returned",
    ),
    "builder that raises": (
        lambda _: align(reference_builder=BreakingBuilder()),
        PluginError,
        r"The reference builder 'BreakingBuilder' failed: AttributeError: 'NoneType' object has no attribute 'wcs'",
    ),
    "builder that gives nothing": (
        lambda _: align(reference_builder=building("Empty", lambda _: None)),
        PluginError,
        r"'Empty' returned NoneType",
    ),
    "builder that gives an array": (
        lambda _: align(reference_builder=building("BareArray", lambda image: image.data)),
        PluginError,
        r"'BareArray' returned ndarray",
    ),
    "builder that gives NaN": (
        lambda _: align(reference_builder=building("AllNaN", lambda image: (image.data * np.nan, image.wcs))),
        AlignmentError,
        r"has no valid pixel: all are NaN",
    ),
    "corrector that raises": (
        lambda _: align(corrector=BreakingCorrector()),
        PluginError,
        r"The corrector 'BreakingCorrector' failed: AttributeError: ",
    ),
    "corrector that gives nothing": (
        lambda _: align(corrector=Forgetting()),
        PluginError,
        r"The corrector 'Forgetting' returned NoneType",
    ),
    "corrector that cannot scale": (
        lambda _: align(corrector=OnlyShift(), fit=("shift", "scale")),
        CorrectionError,
        r"'OnlyShift' cannot apply scale_x and scale_y; choose another corrector, or leave .* out of fit",
    ),
    "corrector of cubes for a map": (
        lambda _: align(corrector="ndcube"),
        CorrectionError,
        r"takes an NDCube; got GenericMap",
    ),
    # The pointing of the columns.
    "drift by a metric without normal equations": (
        lambda _: align(fit=("shift", "drift"), metric="mutual-information"),
        AlignmentError,
        r"'mutual-information' offers no normal equations, from which a drift is found",
    ),
    "drift on the grid of the reference": (
        lambda _: align(fit=("shift", "drift"), working_grid="reference"),
        AlignmentError,
        r"use working_grid='target'",
    ),
    "drift of an image in minutes": (
        lambda _: align(fit=("shift", "drift"), drift_time=5 * u.min),
        AlignmentError,
        r"one time for all columns, so 'drift_time' means nothing",
    ),
    "drift twice as slow": (
        lambda _: align(fit=("shift", "drift"), drift_time=5 * u.min, drift_knots=3),
        AlignmentError,
        r"'drift_time' and 'drift_knots' say the same thing",
    ),
    "drift of few columns": (
        lambda _: align(TARGET.submap([3, 0] * u.pix, top_right=[6, 47] * u.pix), fit=("shift", "drift")),
        AlignmentError,
        r"has data in 4 columns, and a drift needs 6 or more",
    ),
    "drift with a bare prior": (
        lambda _: align(fit=("shift", "drift"), drift_prior=2.0),
        AlignmentError,
        r"'drift_prior' is an angle above 0, such as 2 \* u\.arcsec",
    ),
    "pointing that is a number": (
        lambda _: align(pointing=3.0),
        AlignmentError,
        r"'pointing' is a QTable with time, x and y",
    ),
    "pointing of a file that is a map": (
        lambda _: align(pointing="file"),
        AlignmentError,
        r"tables of a file are not in a GenericMap; give the path",
    ),
    "pointing table without units": (
        lambda _: align(pointing=QTable({"column": [0, 1], "x": [1.0, 2.0], "y": [1.0, 2.0]})),
        AlignmentError,
        r"The column 'x' of a pointing table is an angle with a unit",
    ),
    "template against time for an image": (
        lambda _: align(pointing=step("2024-05-01T00:00:00"), fit=("shift", "drift")),
        AlignmentError,
        r"'step 00:00:00 x' is a function of time, but .* give a table with a 'column'",
    ),
    "template that is a shift": (
        lambda _: align(pointing=Template("hill", np.arange(9.0), np.ones((2, 9))), fit=("shift", "drift")),
        AlignmentError,
        r"The template 'hill' says no more than a shift and a scale",
    ),
    "figure of no drift": (
        lambda _: align().plot_pointing(),
        AlignmentError,
        r"put 'drift' into fit",
    ),
    # Corrections.
    "bare shift of a correction": (
        lambda _: Correction.from_parameters(3, 4),
        TypeError,
        r"'shift_x' is a Quantity of one angle such as 3 \* u\.arcsec; got 3",
    ),
    "correction without a scale": (
        lambda _: Correction.from_parameters(scale_x=0),
        CorrectionError,
        r"A scale is larger than 0; got scale_x=0",
    ),
    "correction of a singular matrix": (
        lambda _: Correction(matrix=np.zeros((2, 2))),
        CorrectionError,
        r"'matrix' of a correction is an invertible 2x2 matrix",
    ),
    "correction between two shapes": (
        lambda _: Correction.between(TARGET, REFERENCE),
        CorrectionError,
        r"shapes \(48, 40\) and \(80, 80\)",
    ),
    # Axes, and what is no single image.
    "one slit position as reference": (
        lambda folder: align(reference=axes_file(folder, (1, 7, 48, 1), **WAVE)),
        ImageError,
        r"position\.fits has one slit position only \(axes HPLN-TAN 1, HPLT-TAN 48, WAVE 7, none 1\).*"
        r"by its path or as an NDCube.*sunalign apply",
    ),
    "one slit position as frames": (
        lambda folder: align(reference=[axes_file(folder, (1, 7, 48, 1), **WAVE), REFERENCE]),
        SunalignUserWarning,
        r"left out: position\.fits \(has one slit position only",
    ),
    "one slit position squeezed, header": (
        lambda _: align(squeezed((1, 7, 48, 1), **WAVE)),
        ImageError,
        r"The observation has one slit position only \(NAXIS1 = 1, and data of shape \(7, 48\)\)",
    ),
    "one slit position squeezed, map": (
        lambda _: align(sunpy.map.Map(*squeezed((9, 48, 1), **TIME))),
        ImageError,
        r"has one slit position only \(NAXIS1 = 1, and data of shape \(9, 48\)\)",
    ),
    "no image on the sky in two": (
        lambda folder: align(second_on_sky(folder, CTYPE1="WAVE")),
        ImageError,
        r"two\.fits has no celestial axes .*\(HDU 0: CTYPE none, none; HDU 1: CTYPE WAVE, HPLT-TAN\)",
    ),
    "a list as target": (
        lambda _: align([TARGET, TARGET]),
        ImageError,
        r"A list holds several images.*sunalign\.align_sequence\(frames, reference\)",
    ),
    "a MapSequence as target": (
        lambda _: align(sunpy.map.Map([TARGET, TARGET], sequence=True)),
        ImageError,
        r"A MapSequence holds several images.*sunalign\.align_sequence",
    ),
    "a tuple of maps as target": (lambda _: align((TARGET, TARGET)), ImageError, r"A tuple holds several images"),
    "paths as target": (lambda _: align(["a.fits", "b.fits"]), ImageError, r"A list holds several images"),
    "a generator as target": (lambda _: align(iter([TARGET])), ImageError, r"holds several images"),
    "a pattern": (
        lambda folder: align(folder / "raster_*.fits"),
        ImageError,
        r"There is no file .*raster_\*\.fits: that is a pattern, which is not expanded here, and no files would match",
    ),
    "a pattern that matches": (
        lambda folder: (write(folder / "raster_1.fits"), align(folder / "raster_*.fits")),
        ImageError,
        r"and 1 file would match it",
    ),
    "a pattern to correct": (
        lambda folder: sunalign.correct(folder / "raster_*.fits", CORRECTION),
        ImageError,
        r"that is a pattern",
    ),
    "a field of a pixel": (
        lambda _: align(small_map(DATA, scale=0.05), small_map(SCENE, scale=40.0)),
        AlignmentError,
        r"All of small, 2 x 2\.4 arcsec in pixels of 0\.05 x 0\.05 arcsec .* is only 0\.06 pixels of the reference",
    ),
    "a surface beyond memory": (
        lambda _: align(
            small_map(DATA, scale=0.01),
            small_map(SCENE, scale=0.01),
            optimizer="fft-search",
            max_shift=120 * u.arcsec,
        ),
        AlignmentError,
        r"Shifts of up to 120 x 120 arcsec in pixels of 0\.01 x 0\.01 arcsec \(CDELT1 and CDELT2\) ask for a surface "
        r"of 24040 x 24048 pixels, some 35 GB\. Lower max_shift",
    ),
    "a folder that is closed": (
        lambda folder: sunalign.files.io.save_correction(closed(folder) / "found.json", CORRECTION),
        PermissionError,
        r"found\.json cannot be written to \S+, where you may not create files; choose another folder",
    ),
    "a directory for a correction": (
        lambda folder: sunalign.files.io.load_correction(folder),
        CorrectionError,
        r"is a directory; give the JSON file",
    ),
    **dict(fault_cases()),
    "correction from a wrong dict": (
        lambda _: Correction.from_dict({"shift_x": 3}),
        CorrectionError,
        r"KeyError: 'shift_y'",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_has_its_own_error(name, tmp_path):
    act, cls, words = CASES[name]
    with pytest.raises(cls, match=words):
        act(tmp_path)


def test_the_same_input_without_its_fault_is_good():
    result = align(
        fit=("shift", "scale"), bounds={"scale_x": (0.9, 1.1)}, min_overlap=0.5, n_jobs=1, max_evaluations=500
    )
    assert result.success
    assert np.allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.1)


def test_cause_of_a_plugins_failure_is_kept():
    for options, cause in (
        ({"metric": Raising()}, ZeroDivisionError),
        ({"optimizer": Breaking()}, KeyError),
        ({"reference_builder": BreakingBuilder()}, AttributeError),
        ({"corrector": BreakingCorrector()}, AttributeError),
    ):
        with pytest.raises(PluginError) as caught:
            align(**options)
        assert isinstance(caught.value.__cause__, cause)


@pytest.mark.parametrize("which", ["target", "reference"])
def test_missing_observer_is_no_obstacle(which):
    keys = ("dsun_obs", "hgln_obs", "hglt_obs")
    header = {"target": TARGET.meta, "reference": REFERENCE.meta}[which]
    image = (DATA if which == "target" else SCENE, {k: v for k, v in header.items() if k not in keys})
    assert to_image(image).observer is None
    with pytest.warns(SunalignUserWarning) as caught:
        result = align(**{which: image})
    assert np.allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.1)
    assert any("observer" in str(warning.message) for warning in caught)


def test_unrelated_image_is_flagged():
    other = small_map(smooth_image(DATA.shape, seed=77))
    with pytest.warns(SunalignUserWarning, match="is doubtful"):
        result = align(other, max_shift=60 * u.arcsec)
    assert not result.success
    assert "DOUBTFUL" in repr(result)
    with pytest.raises(AlignmentDoubtError, match="is doubtful") as caught:
        align(other, max_shift=60 * u.arcsec, on_doubt="raise")
    assert not caught.value.result.success


def test_nan_metric_somewhere_only_is_no_obstacle():
    @plugin
    class Fussy(NCC):
        def score(self, reference, target, mask):
            score = super().score(reference, target, mask)
            return score if score > 0.1 else np.nan

    result = align(metric=Fussy())
    assert result.success


def test_input_that_is_odd_but_good():
    big_endian = sunpy.map.Map(DATA.astype(">f4"), TARGET.meta)
    integers = sunpy.map.Map(np.rint(DATA * 50).astype(np.int32), TARGET.meta)
    sunken = sunpy.map.Map(np.ma.masked_greater(DATA, 140).filled(np.nan), TARGET.meta)
    for target in (big_endian, integers, sunken, replace(to_image(TARGET), name="odd")):
        result = align(target, on_doubt="ignore", corrector="wcs")
        assert np.allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.2)


def test_metric_is_a_metric():
    assert issubclass(NCC, Metric)
