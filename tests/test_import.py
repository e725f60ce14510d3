"""Every module can be the first one that is imported, and the package waits for none that it does not need."""

import pkgutil
import subprocess
import sys

import pytest

import sunalign

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


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


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
