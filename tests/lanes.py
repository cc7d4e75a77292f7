"""Two lanes of tests side by side, for two cores: what pytest does when it is told no names, and so runs everything.

    one lane    real fleets, of tests/processes ..............................
    the other   everything else, the twins among it ..........|
    and who is done first takes the files of FREE, one by one  |.............

A test marked `alone` judges a window of time, or looks at what the whole host shares: it comes last in its lane, and
runs while the other one waits between two of its tests. A turn is asked for at the door and held in the room, so that
nobody overtakes who waits for it to be empty. A session that a test starts may take turns as well, while that test
gives up its own.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDER = "HIVE_TEST_LANES"
LANES = 2
PROCESSES = "tests/processes/"
FREE = {  # no fleet starts in them (it sweeps what dead processes left), and no gate dies (the next one wants that)
    "test_book_readers.py",
    "test_feed.py",
    "test_feed_faults.py",
    "test_gate.py",
    "test_gate_freshness.py",
    "test_kills.py",
    "test_order_queue_kill.py",
    "test_workers.py",
}


class Turns:
    """This session's turns; without a folder there is nobody to take turns with."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        self._alone = False
        if folder is not None:
            self._door, self._room = (
                os.open(Path(folder, name), os.O_RDWR | os.O_CREAT, 0o600) for name in ("door", "room")
            )

    @contextmanager
    def turn(self, alone: bool) -> Iterator[None]:
        """Hold a turn: with others, or alone."""
        self._take(alone)
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within a turn: let the others end theirs, and hold one alone instead."""
        had = self._alone
        self._give()
        try:
            with self.turn(alone=True):
                yield
        finally:
            self._take(had)

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Within a turn: let others have theirs, also those who want to be alone."""
        had = self._alone
        self._give()
        try:
            yield
        finally:
            self._take(had)

    def _take(self, alone: bool) -> None:
        self._alone = alone
        if self.folder is not None:
            fcntl.flock(self._door, fcntl.LOCK_EX)
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _give(self) -> None:
        if self.folder is not None:
            fcntl.flock(self._room, fcntl.LOCK_UN)


TURNS = pytest.StashKey[Turns]()


class Lanes(LoadScopeScheduling):
    """Gives out the two large parts first, as xdist does, and each in the order in which it was collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if not file.startswith(PROCESSES):
            return "the rest"
        return file if file.removeprefix(PROCESSES) in FREE else "fleets"


class Failures:
    """Names each test that failed at once: a run that is cut off never comes to its summary."""

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line

    @pytest.hookimpl(trylast=True)  # after the letter of the progress
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a line, once for each phase that failed."""
        if report.failed:
            self._write_line(f"\n{report.when} of {report.nodeid} failed")


@pytest.fixture(scope="session")
def turns(pytestconfig: pytest.Config) -> Turns:
    """The turns that this session takes."""
    return pytestconfig.stash[TURNS]


def pytest_configure(config: pytest.Config) -> None:
    told = getattr(config, "workerinput", os.environ)
    config.stash[TURNS] = Turns(told.get(FOLDER))
    os.environ.pop(FOLDER, None)  # what a test starts takes no turns unless it is told to
    for name in ("COLUMNS", "LINES"):  # readline exports them, and a terminal that a test opens has a size of its own
        os.environ.pop(name, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[TURNS].folder is not None:
        items.sort(key=is_alone)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with item.config.stash[TURNS].turn(is_alone(item)):
        return (yield)


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return LANES if config.args_source is config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput[FOLDER] = os.environ["XDG_RUNTIME_DIR"]  # of the session that has the lanes


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    config.pluginmanager.register(Failures(config.get_terminal_writer().line))
    return Lanes(config, log)
