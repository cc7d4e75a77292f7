"""What the word after `hive resume` means: a fleet whose halt is lifted, or a strategy that is ticked again."""

import pytest

from hive.cli_change import meant
from hive.cli_errors import Failure
from hive.state import FleetDir


@pytest.fixture(autouse=True)
def fleet(tmp_path, monkeypatch):
    """A fleet `trial` with a strategy `one`, and a fleet `both` with a strategy of its name."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name, strategies in (("trial", ["one"]), ("both", ["both"])):
        folder = FleetDir.of(name)
        folder.path.mkdir(parents=True)
        (folder.path / "lock").touch()
        folder.write({"schema": 1, "strategies": [{"id": one} for one in strategies]})


def test_a_word_is_a_fleet_when_there_is_one_and_a_strategy_else():
    assert meant(None, None) == (None, None)
    assert meant(None, "trial") == ("trial", None)
    assert meant("trial", None) == ("trial", None)
    assert meant("one", None) == (None, "one")
    assert meant("one", "trial") == ("trial", "one")
    assert meant("nobody", None) == (None, "nobody")  # the supervisor says who there is


def test_a_word_that_is_both_is_refused_with_the_two_ways_to_say_it():
    with pytest.raises(Failure, match="both is a fleet and a strategy: say --fleet both, or both --fleet NAME"):
        meant("both", None)
    assert meant("both", "both") == ("both", "both")
