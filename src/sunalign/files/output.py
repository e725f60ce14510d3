"""Output that is whole or not there, and the names of files that are written beside others."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["aligned_path", "atomic_write", "check_output", "suffix_of"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; on success it becomes ``path`` in one step, on failure nothing is left.

    Parameters
    ----------
    path : path
        Where the output goes. A symbolic link is followed.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Yields
    ------
    `pathlib.Path`
        An empty file beside ``path`` with the same suffix, so that a writer that goes by the suffix does the same.

    Raises
    ------
    FileExistsError
        ``path`` exists and ``overwrite`` is False; checked before and after the work.
    FileNotFoundError
        Its directory does not exist.
    """
    final = Path(os.path.realpath(path))
    check_output(final, overwrite)
    temporary = final.with_name(f".{_stem(final)[:40]}.{secrets.token_hex(6)}{suffix_of(final)}")
    # 'x' and not mkstemp: the file gets the permissions any new file gets.
    with temporary.open("xb"):
        pass
    try:
        if final.exists():
            temporary.chmod(final.stat().st_mode & 0o777)
        yield temporary
        _sync(temporary)
        _publish(temporary, final, overwrite)
        _sync(final.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename).name != temporary.name:
            raise
        # Nobody knows the temporary file by name.
        raise type(error)(error.errno, error.strerror, str(final)) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_output(final: Path, overwrite: bool) -> None:
    """Refuse an output before the work that would be lost: a directory, a file that exists, a folder that is closed.

    Parameters
    ----------
    final : `~pathlib.Path`
        Where the output goes, links followed.
    overwrite : `bool`
        Whether it may exist.
    """
    if final.is_dir():
        raise IsADirectoryError(f"{final} is a directory; give the name of a file in it.")
    if not final.parent.is_dir():
        raise FileNotFoundError(f"There is no directory {final.parent} to write {final.name} to; create it first.")
    if final.exists() and not overwrite:
        raise FileExistsError(_exists(final))
    if not _writable(final.parent):
        raise PermissionError(
            f"{final.name} cannot be written to {final.parent}, where you may not create files; choose another folder."
        )


def _writable(folder: Path) -> bool:
    # By trying: permissions alone say nothing of a file system that is mounted read-only.
    probe = folder / f".{secrets.token_hex(8)}"
    try:
        with probe.open("xb"):
            pass
    except OSError:
        return False
    probe.unlink(missing_ok=True)
    return True


def _exists(final: Path) -> str:
    return f"The output {final} exists; choose another name, or pass overwrite=True to replace it."


def _publish(temporary: Path, final: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(final)
        return
    try:
        # Unlike a rename, a link never replaces what another process has written meanwhile.
        os.link(temporary, final)
    except FileExistsError:
        raise FileExistsError(_exists(final)) from None
    except OSError:  # a file system without links
        check_output(final, overwrite)
        temporary.replace(final)


def _sync(path: Path) -> None:
    # Some file systems cannot sync a directory; the file is written all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def suffix_of(path: Path) -> str:
    """Ending of a file's name, with that of its compression: ``.fits.gz``.

    Parameters
    ----------
    path : `~pathlib.Path`
    """
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def _stem(path: Path) -> str:
    return path.name.removesuffix(suffix_of(path))


def aligned_path(path: str | os.PathLike[str]) -> Path:
    """Name of the corrected copy of a file: ``raster.fits`` gives ``raster_aligned.fits``.

    Parameters
    ----------
    path : path-like
        Of the file to be corrected; the copy goes beside it.
    """
    path = Path(path)
    return path.with_name(f"{_stem(path)}_aligned{suffix_of(path)}")
