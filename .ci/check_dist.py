"""Whether sdist and wheel hold what they should, and nothing else: ``check_dist.py DIST CHECKOUT``."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

LARGEST = 5_000_000  # bytes, of either


def main(dist: Path, checkout: Path) -> list[str]:
    """Everything that is wrong, a sentence each."""
    wheels, sdists = sorted(dist.glob("*.whl")), sorted(dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        return [f"{dist} should hold one wheel and one sdist; it holds {sorted(p.name for p in dist.iterdir())}."]
    (wheel,), (sdist,) = wheels, sdists
    version = wheel.name.split("-")[1]
    wrong = check_version(version, checkout)
    if sdist.name != f"sunalign-{version}.tar.gz":
        wrong.append(f"The wheel is of version {version}, and the sdist is {sdist.name}.")
    for path in (wheel, sdist):
        if path.stat().st_size > LARGEST:
            wrong.append(f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST}.")
    with zipfile.ZipFile(wheel) as archive:
        wrong += check_wheel({name for name in archive.namelist() if not name.endswith("/")}, version, checkout)
    with tarfile.open(sdist) as archive:
        names = {
            Path(member.name).relative_to(sdist.name.removesuffix(".tar.gz")) for member in archive if member.isfile()
        }
    return wrong + check_sdist({name.as_posix() for name in names}, checkout)


def check_version(version: str, checkout: Path) -> list[str]:
    """A tag says the version; without one it is counted from the release that is coming."""
    if git(checkout, "tag", "--list", "v*"):
        return []
    settings = tomllib.loads((checkout / "pyproject.toml").read_text())
    coming = settings["tool"]["setuptools_scm"]["fallback_version"].rstrip("0123456789")
    return [] if version.startswith(coming) else [f"Version {version} should begin with {coming}."]


def check_wheel(names: set[str], version: str, checkout: Path) -> list[str]:
    """The package and its metadata: all of src, and nothing beside it."""
    info = f"sunalign-{version}.dist-info"
    package = {path.relative_to(checkout / "src").as_posix() for path in (checkout / "src/sunalign").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    wanted = {*package, f"{info}/licenses/LICENSE.rst", f"{info}/entry_points.txt", f"{info}/METADATA"}
    allowed = {*wanted, *(f"{info}/{name}" for name in ("RECORD", "WHEEL", "top_level.txt"))}
    wrong = [f"The wheel lacks {name}." for name in sorted(wanted - names)]
    wrong += [f"The wheel should not hold {name}." for name in sorted(names - allowed)]
    return wrong if "sunalign/py.typed" in names else [*wrong, "The wheel lacks sunalign/py.typed."]


def check_sdist(names: set[str], checkout: Path) -> list[str]:
    """What is needed to build and to test, and no file that git does not know."""
    wanted = {"LICENSE.rst", "README.md", "CHANGELOG.rst", "pyproject.toml", "PKG-INFO", "src/sunalign/py.typed",
              "tests/conftest.py"}  # fmt: skip
    wrong = [f"The sdist lacks {name}." for name in sorted(wanted - names)]
    known = set(git(checkout, "ls-files", "--cached", "--others", "--exclude-standard"))
    strays = {name for name in names - known if name not in ("PKG-INFO", "setup.cfg") and ".egg-info/" not in name}
    return wrong + [f"The sdist should not hold {name}." for name in sorted(strays)]


def git(checkout: Path, *arguments: str) -> list[str]:
    """Lines that a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    faults = main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.exit("\n".join(faults) or 0)
