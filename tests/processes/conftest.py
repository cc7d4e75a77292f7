"""The simulated exchange, feeds and gates for the tests that need nothing else."""

import pytest

from feed_run import Feed, Sim
from gate.bench import Exchange, GateBench


@pytest.fixture
def exchange(request):
    """A quiet one, where nothing trades but the test, unless its module says otherwise: arguments in `EXCHANGE`."""
    made = Exchange(*getattr(request.module, "EXCHANGE", ()))
    yield made
    made.close()


@pytest.fixture
def gate(exchange):
    bench = GateBench(exchange, workers=2)
    yield bench.ready()
    bench.close()


@pytest.fixture
def start(exchange):
    """Start gates that say something else at boot."""
    benches = []

    def start(**boot: object) -> GateBench:
        benches.append(GateBench(exchange, **boot))
        return benches[-1]

    yield start
    for bench in benches:
        bench.close()
        bench.forget()


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
