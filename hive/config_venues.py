"""`venues:` of a fleet file: each is checked and becomes the value that processes are started with.

Only loopback and testnets are reached without being told so; where real money is, limits must be said.
"""

import re
from collections.abc import Callable
from pathlib import Path

from hive import fleet as values
from hive.config_models import Live, Replay, Sim
from hive.config_risk import check_window, risk_of
from hive.gate.errors import EndpointRefused
from hive.gate.venue import check_endpoint
from hive.installation import spot_connectors
from hive.sim.faults import Faults, parse_fault

VENUE_KINDS = ("binance",)
PAPER_TRADE = "_paper_trade"  # ends the names under which Hummingbot simulates an exchange
VENUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class VenueReader:
    """Reads the venues of one fleet file.

    Args:
        path: the fleet file; files of its venues are named from its folder
        root: the folder with conf/
        risk: the fleet's limits
        problem: takes an error: place, rule
    """

    def __init__(self, path: Path, root: Path, risk: values.Risk, problem: Callable[[str, str], None]) -> None:
        self._path = path
        self._root = root
        self._risk = risk
        self._problem = problem

    def read(self, name: str, venue: Sim | Live | Replay) -> values.Venue:
        """Return a venue; what is wrong with it is reported."""
        place = f"{self._path.name}: venues.{name}"
        kind = venue.kind or name.removesuffix(PAPER_TRADE)
        self._check_name(name, kind, place)
        if isinstance(venue, Sim):
            return self._sim(name, kind, venue, place)
        if isinstance(venue, Replay):
            return self._replay(name, kind, venue, place)
        return self._live(name, kind, venue, place)

    def _check_name(self, name: str, kind: str, place: str) -> None:
        connector = name.removesuffix(PAPER_TRADE)
        if not VENUE.fullmatch(name):
            self._problem(place, f"must be 1 to 32 of A-Z, a-z, 0-9, '_', '.', '-', was {name!r}")
        elif spot_connectors() and connector not in spot_connectors():
            known = ", ".join(sorted(spot_connectors()))
            self._problem(place, f"must be called as one of Hummingbot's spot connectors ({known}), was {name!r}")
        elif kind not in VENUE_KINDS:
            known = " or ".join(VENUE_KINDS)
            text = f"must be called {known}, or have `kind: {known}`: Hive speaks no other venue's protocol yet"
            self._problem(place, text)

    def _sim(self, name: str, kind: str, venue: Sim, place: str) -> values.SimVenue:
        check_window(venue.risk, self._risk, place, self._problem)
        for number, text in enumerate(venue.faults):
            try:
                Faults().add(*parse_fault(text), now_ns=0)
            except ValueError as error:
                self._problem(f"{place}.faults.{number}", str(error))
        return values.SimVenue(
            name,
            kind,
            venue.seed,
            venue.rate,
            venue.symbols,
            tuple(venue.faults),
            venue.recv_window_ms,
            record=self._recording(venue.record),
            risk=risk_of(venue.risk, self._risk),
        )

    def _replay(self, name: str, kind: str, venue: Replay, place: str) -> values.ReplayVenue:
        file = self._path.parent / venue.file
        if not file.is_file():
            self._problem(f"{place}.file", f"there is no {file}")
        return values.ReplayVenue(name, kind, file.absolute(), venue.speed)

    def _live(self, name: str, kind: str, venue: Live, place: str) -> values.LiveVenue:
        if name.endswith(PAPER_TRADE):
            self._problem(f"{place}.mode", "must be sim or replay where the name says paper trade, was live")
        check_window(venue.risk, self._risk, place, self._problem)
        for key in ("rest_url", "ws_url", "ws_api_url"):
            try:
                check_endpoint(getattr(venue, key), venue.production)
            except EndpointRefused as refused:
                self._problem(f"{place}.{key}", str(refused))
            except ValueError as error:
                self._problem(f"{place}.{key}", f"must be an address, was {getattr(venue, key)!r}: {error}")
        risk = risk_of(venue.risk, self._risk)
        self._check_production(venue.production, risk, place)
        return values.LiveVenue(
            name,
            kind,
            venue.rest_url,
            venue.ws_url,
            venue.ws_api_url,
            self._keys(name, venue),
            venue.recv_window_ms,
            venue.production,
            record=self._recording(venue.record),
            risk=risk,
        )

    def _keys(self, name: str, venue: Live) -> values.KeySource:
        if venue.keys_file is not None:
            return values.FileKeys((self._path.parent / venue.keys_file).absolute())
        if venue.keystore is True:
            return values.KeystoreKeys(self._root / "conf" / "connectors" / f"{name}.yml")
        if venue.keystore is not None:
            return values.KeystoreKeys(self._root / venue.keystore)
        return values.EnvironmentKeys(str(venue.api_key_env), str(venue.api_secret_env))

    def _check_production(self, production: bool, risk: values.Risk, place: str) -> None:
        """Real money is traded only where somebody has said how much one order and one loss may be."""
        missing = [
            f"risk.{key}"
            for key in ("max_order_notional", "loss_limit")
            if not (getattr(risk, key) or getattr(self._risk, key))
        ]
        if production and missing:
            rule = "needs risk.max_order_notional and risk.loss_limit, at the venue or for the fleet"
            self._problem(f"{place}.production", f"{rule}; there is no {' and no '.join(missing)}")

    def _recording(self, file: str | None) -> Path | None:
        return None if file is None else (self._path.parent / file).absolute()
