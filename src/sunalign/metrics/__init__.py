"""Metrics: how alike two images are."""

from sunalign.metrics._ncc import NCC

__all__ = ["NCC"]
