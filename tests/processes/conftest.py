"""The simulated exchange and feeds for the tests that need nothing else."""

import pytest

from feed_run import Feed, Sim


@pytest.fixture
def sim():
    made = Sim("--rate", "40")
    yield made
    made.stop()


@pytest.fixture
def feeds():
    """Make feeds; whatever becomes of the test, they are ended and swept."""
    made = []

    def make(*arguments, **venue):
        made.append(Feed(*arguments, **venue))
        return made[-1]

    yield make
    for feed in made:
        feed.close()
