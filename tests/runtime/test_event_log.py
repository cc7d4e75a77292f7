"""What a connector remembers of its own events stays small, and is the latest."""

from hummingbot.core.event.events import MarketEvent, OrderCancelledEvent

from hive.shm.messages import Reply, ReplyKind
from hummingbot.runtime.event_log import REPLIES
from runtime.test_exits import TOUCH

MOST_EVENTS_OF_A_REPLY = 3


async def test_a_connector_that_has_traded_for_long_remembers_its_latest_events_only(stage):
    await stage.start("a", "script", "touch_maker", TOUCH)
    connector = stage.cores["a"].host_data.connectors["binance"]
    for number in range(3 * REPLIES):
        connector.on_reply(Reply(ReplyKind.ACKED, 0, "somebody's"))
        connector.trigger_event(MarketEvent.OrderCancelled, OrderCancelledEvent(1.0, f"c{number}"))
        kept = [event.order_id for event in connector.event_logs if isinstance(event, OrderCancelledEvent)]
        assert kept[-1] == f"c{number}"
        assert len(connector.event_logs) <= MOST_EVENTS_OF_A_REPLY * REPLIES
