"""Files: corrections written and taken back (`sunalign.files.io`), images found by time (`sunalign.files.catalog`)."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # Undoing a file needs no catalogue, and so no sunpy.
    if name in ("catalog", "io"):
        return import_module(f"sunalign.files.{name}")
    raise AttributeError(f"module 'sunalign.files' has no attribute {name!r}")
