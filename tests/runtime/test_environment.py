"""The connectors that Hummingbot's code finds in a worker: their names, fee schemas and example pairs."""

import pytest

from hummingbot.runtime.environment import venue_setting
from hummingbot.runtime.errors import UnknownVenue


def test_a_paper_trade_connector_has_the_fees_of_the_exchange_that_it_simulates():
    paper, real = venue_setting("kucoin_paper_trade"), venue_setting("kucoin")
    assert paper.name == "kucoin_paper_trade"
    assert (paper.trade_fee_schema, paper.example_pair) == (real.trade_fee_schema, real.example_pair)


@pytest.mark.parametrize("name", ["nowhere", "nowhere_paper_trade"])
def test_a_connector_that_hummingbot_does_not_have_is_refused_by_its_name(name):
    with pytest.raises(UnknownVenue, match=f"venues.{name}: Hummingbot has no spot connector of that name"):
        venue_setting(name)
