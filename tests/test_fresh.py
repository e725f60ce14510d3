"""What an object is does not depend on what was imported before it: every public door is the first in its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# Images of all kinds, made without sunalign.
IMAGES = """
import pathlib, sys, tempfile, warnings
warnings.simplefilter("error")
import numpy as np
import scipy.ndimage
import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
import sunpy, sunpy.map
from ndcube import NDCollection, NDCube, NDCubeSequence
warnings.simplefilter("ignore", FITSFixedWarning)
sunpy.log.setLevel("WARNING")

scene = scipy.ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(80, 70)), 2)
scene = 100 + 40 * scene / scene.std()
cards = dict(CTYPE1="HPLN-TAN", CTYPE2="HPLT-TAN", CUNIT1="arcsec", CUNIT2="arcsec", CDELT1=2.0, CDELT2=2.0,
             CRPIX1=35.5, CRPIX2=40.5, CRVAL1=0.0, CRVAL2=0.0, HGLN_OBS=0.0, HGLT_OBS=3.0, DSUN_OBS=1.5e11,
             RSUN_REF=6.957e8)
cards["DATE-OBS"] = "2024-10-17T12:00:00"
header = fits.Header(cards)
reference = sunpy.map.Map(scene, header)
moved = fits.Header(cards | dict(CRVAL1=6.0, CRVAL2=-4.0, CRPIX1=25.5, CRPIX2=30.5))
part = scene[10:70, 10:60]
target = sunpy.map.Map(part, moved)
deep = moved.copy()
deep.update(dict(CTYPE3="WAVE", CUNIT3="nm", CDELT3=0.1, CRPIX3=1.0, CRVAL3=70.0))
def cube(kind=NDCube, of=part, **more):
    return kind(np.array([of, of]), wcs=WCS(deep), meta=dict(deep), **more)
def whole_cube():
    own = header.copy()
    own.update(dict(CTYPE3="WAVE", CUNIT3="nm", CDELT3=0.1, CRPIX3=1.0, CRVAL3=70.0))
    return NDCube(np.array([scene, scene]), wcs=WCS(own), meta=dict(own))
folder = pathlib.Path(tempfile.mkdtemp())
path, other = folder / "target.fits", folder / "reference.fits"
fits.PrimaryHDU(part, moved).writeto(path)
fits.PrimaryHDU(scene, header).writeto(other)

def found(correction):
    shift = u.Quantity([correction.shift_x, correction.shift_y]).to_value(u.arcsec)
    assert np.abs(shift - [-6, 4]).max() < 0.1, shift
def corrected(image):
    crval = image.meta if hasattr(image, "reference_coordinate") else image.wcs.low_level_wcs.wcs
    crval = [crval["crval1"], crval["crval2"]] if hasattr(image, "reference_coordinate") else crval.crval[:2] * 3600
    assert np.abs(np.asarray(crval)).max() < 0.1, crval
"""

# A door is all that is done with sunalign in its interpreter.
DOORS = {
    "align(map, map)": "found(sunalign.align(target, reference).correction)",
    "align(cube, map)": "found(sunalign.align(cube(), reference).correction)",
    "align(map, cube)": "found(sunalign.align(target, whole_cube()).correction)",
    "align(cube, cube)": "corrected(sunalign.align(cube(), whole_cube()).aligned)",
    "align(spectrogram, map)": """
from sunraster import SpectrogramCube
result = sunalign.align(cube(SpectrogramCube), reference)
found(result.correction)
assert type(result.aligned) is SpectrogramCube
""",
    "align((data, header), path)": "found(sunalign.align((part, moved), other).correction)",
    "align((data, wcs), cube)": "found(sunalign.align((part, WCS(moved)), whole_cube()).correction)",
    "align(path, map)": "found(sunalign.align(path, reference).correction)",
    "align(map, [cube])": "found(sunalign.align(target, [whole_cube()]).correction)",
    "synthetic raster of cubes": """
found(sunalign.align(target, [whole_cube()], reference_builder="synthetic-raster").correction)
""",
    "cube.align_to(map)": "corrected(cube().align_to(reference))",
    "map.align_to(cube)": "corrected(target.align_to(whole_cube()))",
    "cube.align_to(map, wavelength)": "corrected(cube().align_to(reference, wavelength=(69.9, 70.05) * u.nm))",
    "correct(cube)": """
from sunalign.correction import Correction
corrected(sunalign.correct(cube(), Correction.from_parameters(-6 * u.arcsec, 4 * u.arcsec)))
""",
    "Correction.between(cube, cube)": """
near = sunalign.Correction.between(cube(), cube())
assert near.shift_x == 0
""",
    "reproject_to_reference(cube, map)": """
assert isinstance(sunalign.reproject_to_reference(cube(), reference), sunpy.map.GenericMap)
""",
    "to_image(cube)": """
from sunalign.images import to_image
assert to_image(cube()).data.shape == part.shape
""",
    "to_image(sequence)": """
from sunalign.images import to_image
for several in (NDCubeSequence([cube()]), NDCollection([("a", cube())])):
    try:
        to_image(several)
    except ValueError as error:
        assert "holds several cubes" in str(error), error
    else:
        raise AssertionError
""",
    "spectral_image(cube)": """
from sunalign.images.cubes import spectral_image
assert spectral_image(cube(), wavelength=(69.9, 70.05) * u.nm).data.shape == part.shape
""",
    "sunalign.images.cubes": "assert sunalign.images.cubes.spectral_image(cube()).data.shape == part.shape",
    "apply_to_windows": """
from sunalign.correctors import apply_to_windows
from sunalign.correction import Correction
(done,) = apply_to_windows([cube()], Correction.from_parameters(-6 * u.arcsec, 4 * u.arcsec))
corrected(done)
""",
    "a result's type": """
from sunalign import AlignmentResult
assert isinstance(sunalign.align(target, reference), AlignmentResult)
""",
    "find_images": """
assert [entry.name for entry in map(pathlib.Path, sunalign.find_images(
    folder, "2024-10-17T11:59", "2024-10-17T12:01"))] == ["reference.fits", "target.fits"]
""",
    "a file is corrected": """
from sunalign.correction import Correction
from sunalign.files.io import apply_to_file
apply_to_file(path, Correction.from_parameters(-6 * u.arcsec, 4 * u.arcsec), output=folder / "new.fits")
corrected(sunpy.map.Map(folder / "new.fits"))
""",
    "the command": """
from sunalign.cli import main
assert main(["align", str(path), str(other), "-o", str(folder / "made.fits"), "--overwrite"]) in (None, 0)
corrected(sunpy.map.Map(folder / "made.fits"))
""",
}

# sunalign is forgotten between two doors; whatever else is there (sunpy, ndcube) has no say in what it knows.
LOOP = """
failed = []
for name, code in {doors!r}.items():
    loaded = sys.modules.get("sunalign")
    if loaded is not None:
        loaded.detach()
    for module in [module for module in sys.modules if module.partition(".")[0] == "sunalign"]:
        del sys.modules[module]
    try:
        exec("import sunalign\\n" + code)
    except BaseException as error:
        failed.append(f"{{name}}: {{type(error).__name__}}: {{error}}")
print("\\n".join(["END", *failed]))
"""


def run(code):
    keep = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    keep["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), keep.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=keep)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_door_can_be_the_first():
    out = run(IMAGES + LOOP.format(doors=DOORS))
    # The command has words of its own.
    assert out.strip().endswith("END"), out


@pytest.mark.parametrize("name", ["align(cube, map)", "to_image(cube)"])
def test_in_an_interpreter_of_its_own(name):
    run(IMAGES + "import sunalign\n" + DOORS[name])


def pages():
    for path in sorted(DOCS.rglob("*.rst")):
        if not {"_build", "generated", "examples"} & set(path.parts) and ">>> " in path.read_text():
            yield path


@pytest.mark.slow
@pytest.mark.parametrize("page", list(pages()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_of_the_docs_stands_alone(page):
    options = ["-q", "-p", "no:cacheprovider"]
    keep = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    command = [sys.executable, "-m", "pytest", *options, str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=keep)
    assert done.returncode == 0, done.stdout[-3000:]
