"""``sunalign apply`` and ``sunalign undo``, and what commands that write files have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sunalign._command_line import ERROR, GOOD, UsageError, read_hdus, read_pixels
from sunalign._command_messages import message_of

__all__ = ["add_apply", "add_undo", "add_windows", "check_page", "check_paths", "same_path"]


def add_apply(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Define ``sunalign apply``.

    Parameters
    ----------
    command : callable
        ``command(name, run, help)`` makes its parser.
    """
    parser = command("apply", _apply, "write a correction that was found before into other files")
    parser.add_argument("correction", type=Path, metavar="CORRECTION.json", help="as 'align --json' writes it")
    _add_files(parser, "_aligned")
    add_windows(parser)


def add_undo(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Define ``sunalign undo``.

    Parameters
    ----------
    command : callable
        ``command(name, run, help)`` makes its parser.
    """
    parser = command("undo", _undo, "take back the last correction written into a file")
    _add_files(parser, "_undone")


def _add_files(parser: argparse.ArgumentParser, suffix: str) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-o", "--output", type=Path, metavar="OUT", help="file to write, for a single FILE")
    where.add_argument("--suffix", default=suffix, help="added to the name of every FILE (default: %(default)s)")
    where.add_argument("--in-place", action="store_true", help="replace every FILE")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def add_windows(parser: Any) -> None:
    """Define which images of a file are corrected, and how exactly.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`, or a group of arguments of one
    """
    parser.add_argument("--hdus", type=read_hdus, default="same-pointing", metavar="LIST",
                        help="images to correct: same-pointing, all, or numbers and names such as 0,1,MgIX "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--tolerance", type=read_pixels, default=0.1, metavar="PIXELS",
                        help="largest error of the written coordinates (default: %(default)s)")  # fmt: skip


def _apply(options: argparse.Namespace) -> int:
    from sunalign.files.io import apply_to_file, load_correction
    from sunalign.files.pointing_tables import load_pointing

    correction, pointing = load_correction(options.correction), load_pointing(options.correction)
    source = f"sunalign correction from {options.correction.name}"

    def write(path: Path, output: Path, overwrite: bool) -> None:
        apply_to_file(
            path,
            correction,
            output,
            overwrite=overwrite,
            provenance=source,
            hdus=options.hdus,
            tolerance=options.tolerance,
            pointing=pointing,
        )

    return _each(options, write)


def _undo(options: argparse.Namespace) -> int:
    from sunalign.files.io import undo_file

    def write(path: Path, output: Path, overwrite: bool) -> None:
        undo_file(path, output, overwrite=overwrite)

    return _each(options, write)


def _each(options: argparse.Namespace, write: Callable[[Path, Path, bool], Any]) -> int:
    """Do it to every file; one that fails is named and does not keep the others from it."""
    if options.output is not None and len(options.files) > 1:
        raise UsageError("-o names one file; use --suffix for several.")
    if options.suffix == "":
        raise UsageError("--suffix is not empty; use --in-place to replace the files.")
    failed = False
    for path in options.files:
        output = path if options.in_place else options.output or _with_suffix(path, options.suffix)
        try:
            write(path, output, options.overwrite or options.in_place)
        except (ValueError, OSError) as error:
            if options.debug:
                raise
            failed = True
            print(f"sunalign: error: {message_of(error)}", file=sys.stderr)
        else:
            print(f"Wrote {output}")
    return ERROR if failed else GOOD


def _with_suffix(path: Path, suffix: str) -> Path:
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}{suffix}{ending}")


def check_page(report: Path | None) -> Path | None:
    """Where the JSON of a report goes; `None` where none is asked for.

    Parameters
    ----------
    report : `~pathlib.Path` or `None`
        Of the page.

    Raises
    ------
    UsageError
        If that is the name of no page.
    """
    from sunalign.files.io import json_path

    if report is None:
        return None
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report is a page such as report.html; got {report}.")
    return json_path(report)


def check_paths(outputs: Mapping[str, Path | None], inputs: Mapping[Path, str], overwrite: bool) -> None:
    """Refuse outputs that cannot be written, and one file by two names.

    Parameters
    ----------
    outputs : mapping
        The path of each file to be written, by what the user gave it as: ``"-o"``; `None` for one not asked for.
    inputs : mapping
        What each file that may not be written over is called, by its path.
    overwrite : `bool`
        Whether outputs may exist.

    Raises
    ------
    UsageError
        If two of them are one file, links followed.
    OSError
        If an output exists, or cannot be written where it is to go.
    """
    from sunalign.files.output import check_output

    names = {os.path.realpath(path): name for path, name in inputs.items()}
    for option, path in outputs.items():
        if path is None:
            continue
        check_output(Path(os.path.realpath(path)), overwrite)
        if (other := names.setdefault(os.path.realpath(path), option)) != option:
            raise UsageError(f"{option} and {other} are the same file {path}.")


def same_path(one: Path, other: Path | None) -> bool:
    """Whether two paths are one file, links followed.

    Parameters
    ----------
    one, other : `~pathlib.Path`
        The second may be `None`, which is no file.

    Returns
    -------
    `bool`
    """
    return other is not None and os.path.realpath(one) == os.path.realpath(other)
