"""``sunalign sequence``: the command line of sequences."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sunalign.sequences._result import SequenceResult

__all__ = ["add_sequence"]


def add_sequence(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Define the command.

    Parameters
    ----------
    command : callable
        ``command(name, run, help)`` makes its parser.
    """
    from sunalign._command_line import add_plugin_options, read_angle, read_names

    parser = command("sequence", _sequence, "align the frames of a sequence with each other and with a reference")
    parser.add_argument("frames", type=Path, nargs="+", metavar="FRAME", help="FITS files; they are never changed")
    parser.add_argument("--reference", type=Path, nargs="+", metavar="REF", default=[],
                        help="FITS files that can be trusted")  # fmt: skip
    search = parser.add_argument_group("search")
    search.add_argument("--fit", default="shift", metavar="LIST", type=read_names,
                        help="what is free in every frame, such as shift,rotation (default: shift)")  # fmt: skip
    search.add_argument("--method", choices=("auto", "pairs", "template"), help="default: auto")
    search.add_argument("--drift", choices=("auto", "keep", "remove"),
                        help="slow part of the pointing where there is no reference (default: keep)")  # fmt: skip
    search.add_argument("--max-shift", type=read_angle, metavar="ANGLE",
                        help="how far a frame may be off its header, such as 30arcsec; two are sought within "
                             "twice that")  # fmt: skip
    search.add_argument("--max-lag", type=int, metavar="N", help="longest lag of pairs; chosen from the data otherwise")
    search.add_argument("--anchor-every", type=int, metavar="N", help="compare every N-th frame with the reference")
    search.add_argument("--solar-rotation", choices=("differential", "rigid", "none"))
    add_plugin_options(search)
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", type=Path, metavar="DIR", help="corrected copies of the frames go there")
    output.add_argument("--table", type=Path, metavar="FILE", help="shifts and errors, such as shifts.ecsv")
    output.add_argument("--plot", type=Path, metavar="FILE", help="figure of the shifts against time")
    output.add_argument("--movie", type=Path, metavar="FILE", help="before and after, as GIF or MP4")
    output.add_argument("--report", type=Path, metavar="FILE", help="HTML page, with JSON beside it")
    output.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _sequence(options: argparse.Namespace) -> int:
    from sunalign._command_line import DOUBTFUL, GOOD
    from sunalign.sequences._sequence import align_sequence

    _check_outputs(options)
    result = align_sequence(options.frames, options.reference or None, **_keywords(options))
    print(result.summary())
    _write(options, result)
    return GOOD if result.success else DOUBTFUL


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    from sunalign._command_line import keywords_of

    names = ("fit", "method", "drift", "max_shift", "max_lag", "anchor_every", "solar_rotation", "metric", "optimizer",
             "scaling", "n_jobs", "output")  # fmt: skip
    return keywords_of(options, names, overwrite=options.overwrite)


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse before an hour of computation what would be refused after it."""
    from sunalign._command_line import UsageError
    from sunalign.files.command import check_page, check_paths
    from sunalign.sequences._movie import check_film

    beside = check_page(options.report)
    if options.movie is not None:
        if options.movie.suffix.lower() not in (".gif", ".mp4"):
            raise UsageError(f"--movie is a film such as movie.gif or movie.mp4; got {options.movie}.")
        check_film(options.movie, options.overwrite)
    if options.table is not None and options.table.suffix.lower() not in (".ecsv", ".csv", ".fits"):
        raise UsageError(f"--table is a table such as shifts.ecsv, .csv or .fits; got {options.table}.")
    outputs = {
        "--table": options.table,
        "--plot": options.plot,
        "--movie": options.movie,
        "--report": options.report,
        "the JSON of --report": beside,
    }
    check_paths(outputs, {} if options.overwrite else dict.fromkeys(options.frames, "FRAME"), options.overwrite)


def _write(options: argparse.Namespace, result: SequenceResult) -> None:
    from sunalign.files.output import atomic_write
    from sunalign.visualization.axes import off_screen

    overwrite: bool = options.overwrite
    if options.output is not None:
        print(f"Wrote {sum(path is not None for path in result.aligned)} frames to {options.output}")
    if options.table is not None:
        with atomic_write(options.table, overwrite) as temporary:
            result.write_table(temporary)
        print(f"Wrote {options.table}")
    if options.plot is not None:
        with off_screen(), atomic_write(options.plot, overwrite) as temporary:
            result.plot().savefig(temporary, dpi=150)
        print(f"Wrote {options.plot}")
    if options.movie is not None:
        with off_screen():
            result.movie(options.movie, overwrite=overwrite)
        print(f"Wrote {options.movie}")
    if options.report is not None:
        result.report(options.report, overwrite=overwrite)
        print(f"Wrote {options.report}")
