"""One stock Hummingbot engine with one strategy, headless, as its users run it today: the rival of `fleet.py`.

    python stock_engine.py < a line of JSON: {rest_url, ws_url, ws_api_url, api_key, api_secret, folder, kind, config}

Everything is Hummingbot's own: the client's table of connectors, the login to an encrypted keystore, the binance
connector, the markets recorder, the clock with its default tick of a second. Only two things are not: the venue's
addresses, which are constants there, and the control by MQTT, which is left out (it would cost the rival more).
`folder` looks like a checkout: `conf`, `scripts`, `controllers`, `data`, `logs`. `kind` is "v1" or "script", `config`
the name of its file. Prints READY when the strategy has been started, and runs until it is killed.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import hummingbot

INFO: dict[str, Any] = json.loads(sys.stdin.readline())
FOLDER = Path(INFO["folder"])
PASSWORD = "a password of the rival"

(FOLDER / "hummingbot").symlink_to(Path(hummingbot.__file__).parent)  # its templates are looked for below the root
hummingbot.root_path = lambda: FOLDER
hummingbot.set_prefix_path(str(FOLDER))
hummingbot.set_data_path(str(FOLDER / "data"))
sys.path.append(str(FOLDER))  # for `scripts` and `controllers`

import hummingbot.connector.exchange.binance.binance_constants as constants  # noqa: E402
from hummingbot.client.config.client_config_map import AnonymizedMetricsDisabledMode  # noqa: E402
from hummingbot.client.config.config_crypt import (  # noqa: E402
    ETHKeyFileSecretManger,
    store_password_verification,
)
from hummingbot.client.config.config_helpers import (  # noqa: E402
    ClientConfigAdapter,
    load_client_config_map_from_file,
)
from hummingbot.client.config.security import Security  # noqa: E402
from hummingbot.client.runner import bootstrap_application, load_and_start_strategy  # noqa: E402
from hummingbot.connector.exchange.binance.binance_utils import BinanceConfigMap  # noqa: E402
from hummingbot.data_feed.candles_feed.binance_spot_candles import constants as candles_constants  # noqa: E402


def store_keys(secrets: ETHKeyFileSecretManger) -> None:
    """Encrypt the keys into conf/connectors/binance.yml, as the command `connect binance` does."""
    store_password_verification(secrets)
    Security.secrets_manager = secrets
    keys = BinanceConfigMap(binance_api_key=INFO["api_key"], binance_api_secret=INFO["api_secret"])
    Security.update_secure_config(ClientConfigAdapter(keys))


async def run() -> None:
    """Log in, start the strategy, and run."""
    constants.REST_URL = INFO["rest_url"] + "/api/"
    constants.WSS_URL = INFO["ws_url"]
    constants.WSS_API_URL = INFO["ws_api_url"]
    candles_constants.REST_URL = INFO["rest_url"]
    candles_constants.WSS_URL = INFO["ws_url"]
    config = load_client_config_map_from_file()
    config.anonymized_metrics_mode = AnonymizedMetricsDisabledMode()  # it would call home
    secrets = ETHKeyFileSecretManger(PASSWORD)
    store_keys(secrets)
    application = await bootstrap_application(config, secrets, headless=True)
    name = "config_file_name" if INFO["kind"] == "v1" else "v2_conf"
    started = application is not None and await load_and_start_strategy(
        application, headless=True, **{name: INFO["config"]}
    )
    if not started:
        raise RuntimeError(f"the stock engine did not start {INFO['config']}")
    print("READY", flush=True)
    await asyncio.Event().wait()


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(run())
