"""The map of the house in the developer guide, held to the imports: one way, and through no private door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sunalign"


def _name(path):
    parts = ("sunalign", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
ROOMS = {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def _imported(node):
    """Modules of ours that are imported below a node, in functions too, but for type hints."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").partition(".")[0] == "sunalign":
            for alias in child.names:
                inside = f"{child.module}.{alias.name}"
                yield inside if inside in MODULES else child.module
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in MODULES)
        yield from _imported(child)


@pytest.fixture(scope="module")
def imports():
    return {
        name: set(_imported(ast.parse(path.read_text(encoding="utf-8")))) - {name} for name, path in MODULES.items()
    }


def _room(module):
    words = module.split(".")
    return words[1] if len(words) > 1 and words[1] in ROOMS else None


def test_no_room_imports_another_rooms_underscored_module(imports):
    foreign = [
        f"{name} -> {other}"
        for name, others in imports.items()
        for other in sorted(others)
        if other.rpartition(".")[2].startswith("_") and _room(other) not in (None, _room(name))
    ]
    assert foreign == []


def test_imports_run_in_no_circle(imports):
    # Whoever imports nothing that is left can be taken away; what remains in the end goes round.
    left = {name: others & imports.keys() for name, others in imports.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_every_room_is_on_the_map():
    text = (ROOT / "docs" / "dev_guide" / "rooms.rst").read_text(encoding="utf-8")
    drawn = text.partition("Where a change goes")[0]
    shown = {f"``{room}/``" for room in ROOMS} | {
        f"``{path.name}``" for path in SOURCE.glob("*.py") if path.stem not in ("__init__", "__main__")
    }
    assert sorted(name for name in shown if name not in drawn) == []
