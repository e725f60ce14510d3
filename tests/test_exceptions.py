"""Errors and warnings as a family."""

import inspect
import pickle
import warnings

import pytest

from sunpy.util.exceptions import SunpyUserWarning

from sunalign import exceptions
from sunalign.exceptions import (
    AlignmentDoubtError,
    AlignmentError,
    CorrectionError,
    CoverageError,
    ImageError,
    PluginConflictError,
    PluginError,
    PluginLoadError,
    SunalignUserWarning,
    UnknownPluginError,
    WorkerError,
    describe_error,
    warn_user,
)


@pytest.mark.parametrize(
    ("cls", "parents"),
    [
        (AlignmentError, (ValueError,)),
        (AlignmentDoubtError, (AlignmentError,)),
        (ImageError, (AlignmentError,)),
        (CoverageError, (AlignmentError,)),
        (CorrectionError, (AlignmentError,)),
        (UnknownPluginError, (PluginError, ValueError)),
        (PluginLoadError, (PluginError, ImportError)),
        (PluginConflictError, (PluginError, ValueError)),
        (WorkerError, (RuntimeError,)),
        (SunalignUserWarning, (SunpyUserWarning,)),
    ],
)
def test_family(cls, parents):
    assert issubclass(cls, parents[0])
    assert all(issubclass(cls, parent) for parent in parents)


def test_everything_public_is_listed_and_documented():
    classes = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and value.__module__ == exceptions.__name__
    }
    assert classes | {"describe_error", "warn_user"} == set(exceptions.__all__)
    for name in classes:
        assert vars(exceptions)[name].__doc__.splitlines()[0].endswith(".")


def test_doubt_carries_its_result():
    assert AlignmentDoubtError("Doubtful.", 3).result == 3
    assert AlignmentDoubtError("Doubtful.").result is None
    # A worker or a job queue sends it by pickle.
    assert str(pickle.loads(pickle.dumps(AlignmentDoubtError("Doubtful.", 3)))) == "Doubtful."


def blamed(level):
    warn_user("Look here.", stacklevel=level)


def test_warn_user_points_at_the_line_to_blame():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        blamed(1)
        blamed(2)
        blamed(None)
    one, two, three = caught
    # Not the line in this package that happens to notice.
    assert three.filename == __file__
    assert three.lineno == one.lineno
    assert one.category is two.category is SunalignUserWarning
    assert one.filename == two.filename == __file__
    lines, start = inspect.getsourcelines(blamed)
    assert one.lineno == start + len(lines) - 1
    assert two.lineno > one.lineno


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError("It ends with a stop."), "ValueError: It ends with a stop"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (RuntimeError(), "RuntimeError"),
        (ValueError("x" * 1000), f"ValueError: {'x' * 200}..."),
    ],
)
def test_another_error_as_part_of_a_sentence(error, words):
    assert describe_error(error) == words
