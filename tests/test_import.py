"""Every module can be the first one that is imported, and the package waits for none that it does not need."""

import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import astropy.units as u

import sunalign
from sunalign._when_imported import when_imported
from sunalign.correction import Correction
from sunalign.files.io import apply_to_file
from sunalign.testing.helpers import small_file

ALONE = """
import importlib, sys
import sunpy.map, ndcube
for name in {names!r}:
    for loaded in [module for module in sys.modules if module.partition(".")[0] == "sunalign"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{{name}}: {{type(error).__name__}}: {{error}}")
"""


def modules():
    return sorted(
        module.name
        for module in pkgutil.walk_packages(sunalign.__path__, "sunalign.")
        if module.name.rpartition(".")[2] != "__main__"
    )


def run(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_every_module_can_come_first():
    # A new copy of the package would warn that maps have the method of the old one.
    assert run("import warnings; warnings.simplefilter('ignore')\n" + ALONE.format(names=modules())) == ""


def test_importing_the_package_loads_neither_plugins_nor_workers():
    heavy = ["sunalign.alignment.align", "sunalign.optimizers", "sunalign.simulate", "joblib.externals.loky"]
    assert run(f"import sys, sunpy.map, sunalign; print([m for m in {heavy!r} if m in sys.modules])") == "[]"


def test_every_public_name_is_there():
    for name in sunalign.__all__:
        assert getattr(sunalign, name) is not None
        assert name in dir(sunalign)
    assert sunalign.images.cubes.spectral_image
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sunalign.nothing


COMMANDS = """
import sys
from sunalign.cli import main
for arguments in (["--help"], ["--version"], ["plugins"], ["undo", "--help"], ["undo", *sys.argv[1:]]):
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    loaded = [name for name in ("matplotlib", "sunpy.map", "ndcube") if name in sys.modules]
    print("end of", arguments[0], code, *loaded)
"""


def test_commands_that_look_at_no_image_load_neither_maps_nor_figures(tmp_path):
    corrected = tmp_path / "corrected.fits"
    with small_file() as path:
        apply_to_file(path, Correction.from_parameters(shift_x=3 * u.arcsec), corrected)
        lines = run(COMMANDS, corrected).splitlines()
        assert (tmp_path / "corrected_undone.fits").read_bytes() == path.read_bytes()
    ends = [line.removeprefix("end of ") for line in lines if line.startswith("end of ")]
    assert ends == ["--help 0", "--version 0", "plugins 0", "undo 0", "undo 0"]


HAVE = "print(*(hasattr(cls, 'align_to') for cls in (sunpy.map.GenericMap, ndcube.NDCube)))"


@pytest.mark.parametrize(
    "code",
    [
        "import sunalign, sunpy.map, ndcube",
        "import ndcube, sunalign, sunpy.map",
        "import sunalign; sunalign.attach(); import sunpy.map, ndcube",
        "import sunalign.alignment.attach, sunpy.map, ndcube",
    ],
)
def test_maps_and_cubes_have_their_method_whatever_is_imported_first(code):
    assert run(f"{code}\n{HAVE}") == "True True"


def test_the_method_can_be_taken_away_before_there_are_maps():
    assert run(f"import sunalign; sunalign.detach()\nimport sunpy.map, ndcube\n{HAVE}") == "False False"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that fails to be imported at first, if its environment says so."""
    (tmp_path / "sunalign_late.py").write_text("import os\nif 'SUNALIGN_LATE' in os.environ:\n    1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "sunalign_late"
    sys.modules.pop("sunalign_late", None)


def test_calls_wait_for_the_import_and_are_made_once(module, monkeypatch):
    calls = []
    before = list(sys.meta_path)
    for _ in range(2):
        when_imported(("sunalign_never", module), lambda: calls.append(module in sys.modules))
    assert calls == []
    with pytest.raises(ModuleNotFoundError):
        __import__("sunalign_never")
    assert importlib.util.find_spec("sunalign_never") is None
    assert importlib.util.find_spec(module) is not None  # asks, and imports nothing
    assert calls == []
    monkeypatch.setenv("SUNALIGN_LATE", "1")
    with pytest.raises(ZeroDivisionError):
        __import__(module)
    assert calls == []
    monkeypatch.delenv("SUNALIGN_LATE")
    loaded = __import__(module)
    assert calls == [True, True]
    assert sys.meta_path == before
    # Nothing of the hook is left in what others see.
    assert type(loaded.__spec__.loader).__name__ == "SourceFileLoader"
    assert "exec_module" not in vars(loaded.__spec__.loader)
    when_imported((module,), lambda: calls.append("now"))
    assert calls == [True, True, "now"]
