"""The command line: the list of commands, each of which is in the room of what it does."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import sunalign
from sunalign._command_line import DOUBTFUL, ERROR, GOOD, USAGE, UsageError
from sunalign._command_messages import message_of, pipe_closed, tidy, typed

__all__ = ["main"]

_EPILOG = "Exit codes: 0 good, 1 error, 2 wrong usage, 3 aligned but doubtful (the output is written all the same)."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of `str`, optional
        Of the command line by default.

    Returns
    -------
    `int`
        Exit code: 0 good, 1 error, 3 aligned but doubtful. A wrong command line exits with 2.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    debug: bool = options.debug
    try:
        with tidy(debug):
            code = int(options.run(options))
            sys.stdout.flush()
            return code
    except UsageError as error:
        options.parser.print_usage(sys.stderr)
        print(f"sunalign: error: {typed(str(error))}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    except KeyboardInterrupt:
        print("sunalign: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError as error:
        return pipe_closed(error)
    except Exception as error:  # noqa: BLE001  (the user gets the message, and the rest with --debug)
        if debug:
            traceback.print_exc()
        else:
            print(f"sunalign: error: {message_of(error)}", file=sys.stderr)
        return ERROR


def make_parser() -> argparse.ArgumentParser:
    """Parser of all commands, in the order in which ``--help`` lists them."""
    from sunalign.alignment.command import add_align, add_raster
    from sunalign.archive.command import add_commands as add_archive_commands
    from sunalign.files.command import add_apply, add_undo
    from sunalign.sequences.command import add_sequence

    parser = argparse.ArgumentParser(
        prog="sunalign",
        description="Correct the pointing of solar images and slit rasters.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sunalign {sunalign.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks, warnings and log messages")

    def command(name: str, run: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            parents=[common],
            help=help_,
            description=f"{help_[0].upper()}{help_[1:]}.",
            epilog=_EPILOG,
            # An abbreviation in a script would change its meaning with the next option of that beginning.
            allow_abbrev=False,
        )
        made.set_defaults(run=run, parser=made)
        return made

    add_align(command)
    add_raster(command)
    add_apply(command)
    add_undo(command)
    command("plugins", _plugins, "list the installed plugins and the packages that bring them")
    _add_demo(command)
    add_archive_commands(command)
    add_sequence(command)
    return parser


def _add_demo(command: Callable[..., argparse.ArgumentParser]) -> None:
    parser = command("demo", _demo, "simulate a raster with a known pointing error, and align it")
    parser.add_argument("--out", type=Path, default=Path("sunalign-demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the Sun, the noise and the error")
    parser.add_argument("--archive", action="store_true", help="an archive of twelve rasters instead of one")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")


def _plugins(options: argparse.Namespace) -> int:
    from sunalign.registry import installed

    rows = [(p["kind"], p["name"], f"{p['distribution']} {p['version']}".strip(), p["target"]) for p in installed()]
    widths = [max(len(row[k]) for row in rows) for k in range(3)] if rows else []
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]))
    return GOOD


def _demo(options: argparse.Namespace) -> int:
    from sunalign.demo import run_demo

    if options.archive:
        from sunalign.archive.demo import run_archive_demo

        run_archive_demo(options.out, seed=options.seed, overwrite=options.overwrite)
        return GOOD  # That one is doubtful and one broken is what it shows.
    result = run_demo(options.out, seed=options.seed, overwrite=options.overwrite)
    return GOOD if result.success else DOUBTFUL
