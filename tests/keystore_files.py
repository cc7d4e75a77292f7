"""A keystore as Hummingbot leaves it, made with few rounds so that tests are quick.

That Hive reads what Hummingbot's own code writes is shown in tests/test_keystore.py.
"""

import json
from pathlib import Path

import yaml
from eth_keyfile import keyfile

ROUNDS = 1000


def encrypted(text: str, password: str) -> str:
    """Return what a keystore holds of a text."""
    salt, start = bytes(16), 7
    derived = keyfile._pbkdf2_hash(password.encode(), "sha256", salt, ROUNDS, 32)
    cipher = keyfile.encrypt_aes_ctr(text.encode(), derived[:16], start)
    crypto = {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": f"{start:02x}"},
        "ciphertext": cipher.hex(),
        "kdf": "pbkdf2",
        "kdfparams": {"c": ROUNDS, "dklen": 32, "prf": "hmac-sha256", "salt": salt.hex()},
        "mac": keyfile.keccak(derived[16:32] + cipher).hex(),
    }
    return json.dumps({"crypto": crypto, "version": 3, "alias": ""}).encode().hex()


def write_keystore(root: Path, pair: tuple[str, str], password: str, name: str = "binance") -> Path:
    """Write conf/connectors/NAME.yml and conf/.password_verification below `root`; return the former."""
    path = root / "conf" / "connectors" / f"{name}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {"binance_api_key": pair[0], "binance_api_secret": pair[1]}
    secrets = {key: encrypted(text, password) for key, text in texts.items()}
    path.write_text(yaml.safe_dump({"connector": "binance", **secrets}))
    (root / "conf" / ".password_verification").write_text(encrypted("HummingBot", password))
    return path
