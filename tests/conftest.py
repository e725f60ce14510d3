"""What every test stands on: one thread for linear algebra, no display, no network, repeatable property tests."""

import os

# These are read when a library is first loaded, by this process or by the workers it starts.
os.environ.update(
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    MPLBACKEND="Agg",
)

import importlib
import ipaddress
import socket
import sys
from pathlib import Path

import pytest
import threadpoolctl
from hypothesis import HealthCheck, settings

from astropy.utils import iers

TESTS = Path(__file__).parent

# Plugins of pytest have imported numpy by now, and its threads are made already.
threadpoolctl.threadpool_limits(1)

# Arrays are slow to draw; how long a draw takes says nothing about the code under test.
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=25, **_COMMON)
settings.register_profile("nightly", max_examples=500, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# The tables that come with astropy are recent enough for every date in the tests.
iers.conf.auto_download = False


def _is_local(address):
    if not isinstance(address, tuple):  # a Unix socket's path
        return True
    if address[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Refuse every connection that leaves the machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if not _is_local(address):
            self.close()
            pytest.fail(f"The tests may not use the network, and this one tried to reach {address}.")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True)
def _close_figures():
    """Close the figures a test leaves open, so that they do not add up."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def example_plugin(monkeypatch):
    """Install the pretend third-party package ``example_plugin`` for one test, and return its module.

    ``tests`` holds the package and its ``example_plugin-0.1.dist-info``, so putting the folder on the path is all that
    installing would have done. It goes at the end, where it cannot hide anything.
    """
    from sunalign import registry

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "example_plugin"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        registry.clear_cache()

    monkeypatch.setattr(sys, "path", [*sys.path, str(TESTS)])
    forget()
    try:
        yield importlib.import_module("example_plugin")
    finally:
        monkeypatch.undo()
        forget()
