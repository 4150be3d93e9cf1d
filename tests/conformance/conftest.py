"""What every test of the command runs under."""
import os

import pytest

from device import DEVICE, ON_CPU


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory):
    """Compiled models of tests stay out of the user's cache folder."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


def pytest_collection_modifyitems(config, items):
    """On a device only tests that take one run; the others would repeat what the CPU's run showed."""
    if ON_CPU:
        return
    others = [item for item in items if item.get_closest_marker("device") is None]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)
    config.stash[LEFT_OUT] = len(others)


LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(terminalreporter, config):
    if not ON_CPU:
        terminalreporter.write_line(
            f"device {DEVICE}: {config.stash.get(LEFT_OUT, 0)} tests do not take a device and were left out")
