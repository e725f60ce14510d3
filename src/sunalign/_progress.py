"""Bars for what takes more than a moment: off unless asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["reporter", "tracked"]

T = TypeVar("T")
Progress = bool | Callable[..., Any] | None


def tracked(items: Iterable[T], progress: Progress, description: str) -> Iterable[T]:
    """Show how far an iteration is on a bar made by tqdm, or by a callable like it; the items alone otherwise.

    Parameters
    ----------
    items : iterable
        Its length is that of the bar, if it has one.
    progress : `bool`, callable or `None`
        `None` and False show nothing, True a bar of tqdm; a callable takes what `tqdm.tqdm` takes.
    description : `str`
        Stands before the bar.
    """
    if not progress:
        return items
    shown: Iterable[T] = bar_maker(progress)(items, desc=description)
    return shown


@contextmanager
def reporter(progress: Progress) -> Iterator[Callable[[int, float], None] | None]:
    """Show evaluations on a bar made by tqdm, or by a callable like it; nothing for `None` or False.

    Parameters
    ----------
    progress : `bool`, callable or `None`
        As in `tracked`.

    Returns
    -------
    context manager
        Of a function of the evaluations spent so far, and the best score among them; or of `None`.
    """
    if not progress:
        yield None
        return
    bar = bar_maker(progress)(desc="sunalign", unit=" images")
    shown = 0

    def show(spent: int, best: float) -> None:
        nonlocal shown
        bar.update(spent - shown)
        bar.set_postfix(score=f"{best:.4f}", refresh=False)
        shown = spent

    try:
        yield show
    finally:
        bar.close()


def bar_maker(progress: Progress) -> Callable[..., Any]:
    """What makes bars.

    Parameters
    ----------
    progress : True or callable
        A callable takes what `tqdm.tqdm` takes.
    """
    if progress is True:
        from tqdm.auto import tqdm

        return tqdm
    if callable(progress):
        return progress
    raise TypeError(f"'progress' is True, False or a callable such as tqdm.tqdm; got {progress!r}.")
