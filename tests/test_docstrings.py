"""What arguments are is said where they are taken: in numpydoc's section Parameters."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sunalign

PAGES = Path(__file__).parents[1] / "docs" / "reference"

#: Part of all functions with arguments, public or not, that have the section; of ndcube's 0.78 have, of aiapy's 0.95.
MOST = 0.8


def public_modules():
    """Modules that have a page in the reference."""
    found = [re.findall(r"^\.\. automodapi:: (\S+)$", page.read_text(), re.MULTILINE) for page in PAGES.glob("*.rst")]
    return sorted(name for names in found for name in names)


def all_modules():
    names = (module.name for module in pkgutil.walk_packages(sunalign.__path__, "sunalign."))
    return sorted(name for name in names if not name.endswith("__main__"))


def documented(text):
    """Names in the section Parameters of a docstring."""
    lines = inspect.cleandoc(text or "").splitlines()
    ruled = [k for k, line in enumerate(lines) if k and line and not line.strip("-") and len(line) > 2]
    starts = [k for k in ruled if lines[k - 1] == "Parameters"]
    if not starts:
        return set()
    end = min((k - 1 for k in ruled if k > starts[0]), default=len(lines))
    heads = [line.partition(" : ")[0] for line in lines[starts[0] + 1 : end] if line and not line.startswith(" ")]
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def arguments(function):
    """Names of what is to be given, without self and cls."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls") and name[0] != "_"]


def undocumented(function, *texts):
    known = set().union(*(documented(text) for text in texts))
    return [name for name in arguments(function) if name not in known]


def has_own_constructor(cls):
    """Whether it takes arguments of our making, and not those of Exception, say."""
    return not getattr(cls, "_is_protocol", False) and any(
        name in vars(base)
        for base in cls.__mro__
        if base.__module__.startswith("sunalign")
        for name in ("__init__", "__new__")
    )


def methods(cls):
    """Public methods that are written down in a class, with the docstrings that they have or override."""
    for name, member in vars(cls).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function, [getattr(base, name).__doc__ for base in cls.__mro__ if hasattr(base, name)]


def problems_of(name, member):
    if inspect.isclass(member):
        if has_own_constructor(member) and (missing := undocumented(member, member.__doc__)):
            yield f"{name}: {', '.join(missing)}"
        for method, function, texts in methods(member):
            if missing := undocumented(function, *texts):
                yield f"{name}.{method}: {', '.join(missing)}"
    elif callable(member):
        if missing := undocumented(member, member.__doc__):
            yield f"{name}: {', '.join(missing)}"


@pytest.mark.parametrize("module", public_modules())
def test_every_argument_of_what_is_public_is_described(module):
    loaded = importlib.import_module(module)
    problems = []
    for name in loaded.__all__:
        problems += problems_of(name, getattr(loaded, name))
    assert problems == []


def functions_of(module):
    """Functions and methods that a module defines and that do not begin with an underscore, with their docstrings."""
    for name, member in vars(module).items():
        if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(member):
            yield from ((f"{name}.{method}", function, texts) for method, function, texts in methods(member))
        elif inspect.isfunction(inspect.unwrap(member)):
            yield name, member, [member.__doc__]


def test_most_functions_of_the_package_say_what_their_arguments_are():
    said, unsaid = [], []
    for module in map(importlib.import_module, all_modules()):
        for name, function, texts in functions_of(module):
            if arguments(function):
                (unsaid if undocumented(function, *texts) else said).append(f"{module.__name__}.{name}")
    part = len(said) / len(said + unsaid)
    assert part >= MOST, f"{100 * part:.0f} % do; these do not: {', '.join(unsaid)}"
