"""Who may place no new orders any more: by hand, for what was lost, or as its venue does not take its key.

    halt(), resume()              from the supervisor, which keeps halts and tells them to every gate
    watch_losses(), stop_venue()  told to the supervisor as "halted"
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from hive.gate.account import Account
from hive.gate.guards import FleetGuards
from hive.gate.owners import Owners
from hive.gate.pace import moment
from hive.gate.settings import Halt, VenueSettings
from hive.shm.channel import Channel

LOSSES_EVERY_S = 0.5


class Halting:
    """The halts of all accounts.

    Args:
        accounts: by the venue's number
        owners: who the strategies are
        guards: know what was lost
        channel: to the supervisor
    """

    def __init__(
        self,
        accounts: Mapping[int, Account],
        owners: Owners,
        guards: FleetGuards,
        channel: Channel,
        log: logging.Logger,
    ) -> None:
        self._accounts = accounts
        self._owners = owners
        self._guards = guards
        self._channel = channel
        self._log = log

    def halt(self, halt: Halt) -> None:
        """Take no new orders of a strategy, on a venue, or at all."""
        for account in self._halted_by(halt):
            account.halt(self._owners.tags.get(halt.strategy), halt.venue or "", halt.reason)

    def resume(self, halt: Halt) -> None:
        """Take new orders again of whom a halt like this one stopped."""
        accounts, tag = self._halted_by(halt), self._owners.tags.get(halt.strategy)
        if accounts:  # the tag of a strategy that is not known would be everybody's
            self._guards.forgive(tag, halt.venue)
        for account in accounts:
            account.admission.halts.resume(tag, halt.venue or "")

    async def watch_losses(self) -> None:
        """Halt who has lost more than it may, and cancel its orders; until cancelled."""
        while True:
            await moment(LOSSES_EVERY_S)
            for trip in self._guards.losses(time.time_ns(), time.monotonic_ns()):
                strategy = self._owners.ids.get(trip.strategy)
                halt = Halt(strategy, trip.venue, replace(trip, strategy=strategy).text)  # people know it by its id
                self._log.critical("%s: halted, and its orders are cancelled", halt.reason)
                self.halt(halt)
                for account in self._halted_by(halt):
                    for order in account.ledger.open_orders():
                        if trip.strategy in (None, order.tag):
                            account.cancel(order, urgent=True)
                self._tell(halt)

    def stop_venue(self, venue: VenueSettings, text: str) -> None:
        """Halt a venue that does not take its key any more: nothing can be sent there until somebody looks at it."""
        reason = f"{venue.name} does not take the API key any more: {text}"
        if not self._accounts[venue.index].admission.halts.all:
            self._log.critical("%s: no new orders go there", reason)
            halt = Halt(None, venue.name, reason)
            self.halt(halt)
            self._tell(halt)

    def _halted_by(self, halt: Halt) -> list[Account]:
        if halt.strategy is not None and halt.strategy not in self._owners.tags:
            self._log.error("no strategy has the id %s: it cannot be halted or resumed", halt.strategy)
            return []
        return [one for one in self._accounts.values() if halt.venue in (None, one.venue.name)]

    def _tell(self, halt: Halt) -> None:
        self._channel.send({"type": "halted", "venue": halt.venue, "strategy": halt.strategy, "reason": halt.reason})
