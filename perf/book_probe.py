"""A Hummingbot script that trades like `touch_maker` and checks at every tick that all its reads saw one book.

Used by `end_to_end.py`. A disagreement is logged as "mixed book" and raised, so it also counts as an error.
"""

from hummingbot.core.data_type.common import PriceType
from scripts.touch_maker import TouchMaker, TouchMakerConfig


class BookProbeConfig(TouchMakerConfig):
    """The configuration of `touch_maker` under this script's name."""

    script_file_name: str = "book_probe.py"


class BookProbe(TouchMaker):
    """Compares prices, a volume price and the entries of one tick with each other."""

    def on_tick(self):
        """Check the book, then trade."""
        connector = self.connectors[self.config.exchange]
        pair = self.config.trading_pair
        book = connector.get_order_book(pair)
        mid = float(connector.get_price_by_type(pair, PriceType.MidPrice))
        bids, asks = list(book.bid_entries()), list(book.ask_entries())
        amount = asks[0].amount + asks[1].amount / 2
        expected = (asks[0].amount * asks[0].price + asks[1].amount / 2 * asks[1].price) / amount
        average = book.get_vwap_for_volume(True, amount).result_price
        one_book = (
            abs(mid - (bids[0].price + asks[0].price) / 2) <= 1e-9 * mid
            and abs(average - expected) <= 1e-9 * mid
            and {row.update_id for row in bids + asks} == {book.snapshot_uid}
            and [row.price for row in bids] == sorted((row.price for row in bids), reverse=True)
            and [row.price for row in asks] == sorted(row.price for row in asks)
            and bids[0].price < asks[0].price
        )
        if not one_book:
            self.logger().error("mixed book: the reads of one tick disagree")
            raise AssertionError("mixed book")
        super().on_tick()
