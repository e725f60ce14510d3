"""The package that the documentation offers to be copied, and the promises of the reference pages."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLE = DOCS / "examples" / "sunalign-tutorial-plugin"


@pytest.fixture
def environment(tmp_path):
    """A fresh environment that sees what is installed here, the checkout, and nothing of the network."""
    home = tmp_path / "venv"
    venv.EnvBuilder(system_site_packages=True, with_pip=False).create(home)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    # An environment made from within another sees the base interpreter's packages, and not that other's.
    outer = [path for path in sys.path if path.endswith("site-packages")]
    (site,) = home.glob("lib/python*/site-packages" if os.name != "nt" else "Lib/site-packages")
    (site / "outer.pth").write_text("\n".join([str(ROOT / "src"), *outer]) + "\n")
    return python


def _run(*command, cwd, **variables):
    keep = {key: value for key, value in os.environ.items() if key not in ("PYTEST_ADDOPTS", "PYTHONPATH")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**keep, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_the_example_package_installs_and_passes_its_tests(environment, tmp_path):
    # A copy, for building leaves traces.
    package = tmp_path / "package"
    _copy(EXAMPLE, package)
    if _builds_wheels():
        _run(environment, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet", ".", cwd=package)
    else:
        # The setuptools of a fresh Python 3.11 makes no wheels, and there may be no network to fetch another from.
        install = "from setuptools import setup; setup()"
        options = ["install", "--single-version-externally-managed", "--record", tmp_path / "record"]
        _run(environment, "-W", "ignore", "-c", install, *options, cwd=package)
    listed = _run(environment, "-m", "sunalign", "plugins", cwd=tmp_path)
    assert re.search(r"metric +rank-correlation +sunalign-tutorial-plugin 0\.1", listed)
    assert re.search(r"optimizer +compass-search +sunalign-tutorial-plugin 0\.1", listed)
    closing = _run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package).strip().splitlines()[-1]
    assert re.match(r"\d+ passed", closing), closing


def _builds_wheels():
    """Whether setuptools can do without the package ``wheel``, or has it; skips where there is no setuptools."""
    setuptools = pytest.importorskip("setuptools")
    return int(setuptools.__version__.split(".")[0]) >= 71 or importlib.util.find_spec("wheel") is not None


def _copy(source, to):
    for path in source.rglob("*"):
        if path.is_file() and not {"__pycache__", "build"} & set(path.parts) and ".egg-info" not in str(path):
            target = to / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


#: Rooms of which nothing is public, and modules of the others that are public by themselves. Of a room that is
#: documented as a whole only what its ``__init__`` names is.
INTERNAL = {"alignment", "geometry", "wcs"}
OF_A_ROOM = {
    ("files", "catalog"),
    ("files", "io"),
    ("images", "cubes"),
    ("testing", "helpers"),
    ("testing", "strategies"),
    ("visualization", "report"),
}


def _public_modules():
    source = ROOT / "src" / "sunalign"
    for path in sorted([*source.glob("*.py"), *source.glob("*/*.py")]):
        parts = path.relative_to(source.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if any(part.startswith("_") for part in parts) or INTERNAL & set(parts) or parts[1:] == ("files",):
            continue
        if len(parts) > 2 and parts[1:] not in OF_A_ROOM:
            continue
        yield ".".join(parts), path


MODULES = dict(_public_modules())


def _page(module):
    """The reference page on which a module is."""
    parts = module.split(".")
    return DOCS / "reference" / f"{parts[1] if len(parts) > 1 else 'sunalign'}.rst"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_module_is_in_the_reference(module):
    assert f".. automodapi:: {module}\n" in _page(module).read_text()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_example(module):
    tree = ast.parse(MODULES[module].read_text())
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    shown = "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*)$", _page(module).read_text(), flags=re.MULTILINE))
    missing = [name for name in names if not re.search(rf"\b{name}\b", shown)]
    assert not missing, f"{_page(module).name} has no example of {', '.join(missing)}."


def test_every_page_of_the_docs_is_one_sentence_a_line():
    for path in DOCS.rglob("*.rst"):
        if {"_build", "generated", "examples"} & set(path.parts):
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            prose = re.sub(r"``[^`]*``|`[^`]*`", "x", line)
            if prose.startswith((">>>", "...", " ", "..", "\t", ":", "-", "*")):
                continue
            assert not re.search(r"[a-z]{2}[.!?] [A-Z]", prose), f"{path.relative_to(ROOT)}:{number}: {line}"
