"""Bars for what takes more than a moment: off unless asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["reporter", "tracked"]

T = TypeVar("T")
Progress = bool | Callable[..., Any] | None


def tracked(items: Iterable[T], progress: Progress, description: str) -> Iterable[T]:
    """Show how far an iteration is on a bar made by tqdm, or by a callable like it; the items alone otherwise."""
    if not progress:
        return items
    shown: Iterable[T] = bar_maker(progress)(items, desc=description)
    return shown


@contextmanager
def reporter(progress: Progress) -> Iterator[Callable[[int, float], None] | None]:
    """Show evaluations on a bar made by tqdm, or by a callable like it; nothing for `None` or False."""
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
    if progress is True:
        from tqdm.auto import tqdm

        return tqdm
    if callable(progress):
        return progress
    raise TypeError(f"'progress' is True, False or a callable such as tqdm.tqdm; got {progress!r}.")
