"""Hummingbot's encrypted keystore, read and never written.

    conf/connectors/binance.yml      connector: binance
                                     binance_api_key: HEX
                                     binance_api_secret: HEX
    conf/.password_verification      HEX of one known word: tells a wrong password

HEX is the JSON of an Ethereum keyfile of version 3 (https://ethereum.org/developers/docs/data-structures-and-encoding/web3-secret-storage)
around the text, as `hummingbot.client.config.config_crypt` of the pinned release writes it. One decryption takes about
a million rounds of PBKDF2, on purpose. No error shows the password or anything that was decrypted.

`python -m hive.keystore` does it in a process of its own, because what is imported for it would cost every command of
hive 0.1 s and the supervisor 8 MB. It takes and gives one line of JSON through pipes:

    {"password": ..., "stores": [[PATH, CONNECTOR], ...]}  ->  {"stores": [[KEY, SECRET] or "what is wrong", ...]}
                                                           or  {"wrong": "the password, or the file that tells it"}
"""

import json
import sys
from pathlib import Path
from typing import Any

from eth_keyfile import decode_keyfile_json

from hive import keys
from hive.config_yaml import YamlError, read_yaml

WORD = "HummingBot"
_MAC_MISMATCH = "MAC mismatch"  # eth_keyfile's only word for a wrong password


class KeystoreError(Exception):
    """A keystore that is not used: where it is, and the rule that it breaks."""


class WrongPassword(KeystoreError):
    """The password does not open it."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request, see above; a wrong password is found before any key is decrypted."""
    password = request["password"]
    stores = [(Path(path), connector) for path, connector in request["stores"]]
    try:
        for path in dict.fromkeys(verification(path) for path, _ in stores):
            verify_password(path, password)
    except KeystoreError as error:
        return {"wrong": str(error)}
    answers: list[tuple[str, str] | str] = []
    for path, connector in stores:
        try:
            answers.append(read_keystore(path, connector, password))
        except WrongPassword as error:
            return {"wrong": str(error)}
        except KeystoreError as error:
            answers.append(str(error))
    return {"stores": answers}


def verification(path: Path) -> Path:
    """Return the file that tells a wrong password of the keystore which a connector's file belongs to."""
    return path.parent.parent / ".password_verification"


def verify_password(path: Path, password: str) -> None:
    """Raise WrongPassword unless `password` opens a `.password_verification`; without that file nothing is known."""
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        raise KeystoreError(f"{path} must be a file of Hummingbot's that can be read") from None
    if _decrypted(text.strip(), password, str(path)) != WORD:
        raise KeystoreError(f"{path} must hold Hummingbot's own word")


def read_keystore(path: Path, connector: str, password: str) -> tuple[str, str]:
    """Return the key and the secret of a connector's file.

    Args:
        path: of conf/connectors/NAME.yml.
        connector: whose keys it must hold.

    Raises:
        WrongPassword: it was encrypted with another password.
        KeystoreError: it is not there, not Hummingbot's, or another connector's.
    """
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise KeystoreError(f"{path} must be a connector's file of Hummingbot: {error.rule}") from None
    if values.get("connector") != connector:
        raise KeystoreError(f"{path} must be of connector {connector}, was of {values.get('connector')!r}")
    texts = []
    for name in (f"{connector}_api_key", f"{connector}_api_secret"):
        if not isinstance(values.get(name), str):
            raise KeystoreError(f"{path} must have {name}")
        texts.append(_decrypted(values[name], password, f"{path}: {name}"))
    return texts[0], texts[1]


def _decrypted(text: str, password: str, place: str) -> str:
    try:
        keyfile = json.loads(bytes.fromhex(text))
        return decode_keyfile_json(keyfile, password.encode("utf-8", "surrogateescape")).decode()
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, NotImplementedError) as error:
        if str(error) == _MAC_MISMATCH:
            raise WrongPassword(f"{place}: the password does not open it") from None
        raise KeystoreError(f"{place} must be encrypted as Hummingbot does") from None


if __name__ == "__main__":
    keys.forbid_reads()
    print(json.dumps(answer(json.loads(sys.stdin.readline()))))
