"""Hummingbot's keystore: what Hummingbot's own code wrote is read, and nothing else is taken for it."""

from pathlib import Path

import pytest
import yaml
from hummingbot.client.config.config_crypt import PASSWORD_VERIFICATION_WORD, ETHKeyFileSecretManger

from hive.keystore import WORD, KeystoreError, WrongPassword, answer, read_keystore, verify_password

PASSWORD = "correct horse: ä"
PAIR = ("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP")


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """What Hummingbot itself writes for this password, which takes a moment."""
    manager = ETHKeyFileSecretManger(PASSWORD)
    texts = {"binance_api_key": PAIR[0], "binance_api_secret": PAIR[1], "word": PASSWORD_VERIFICATION_WORD}
    return {name: manager.encrypt_secret_value(name, text) for name, text in texts.items()}


@pytest.fixture
def conf(tmp_path, written) -> Path:
    """A conf/ folder as Hummingbot leaves it."""
    (tmp_path / "connectors").mkdir()
    (tmp_path / ".password_verification").write_text(written["word"])
    store(tmp_path, **{name: written[name] for name in ("binance_api_key", "binance_api_secret")})
    return tmp_path


def store(conf: Path, **values: object) -> Path:
    path = conf / "connectors" / "binance.yml"
    path.write_text("#####\n###   binance config   ###\n#####\n\n" + yaml.safe_dump({"connector": "binance", **values}))
    return path


def refusal(conf: Path, password: str = PASSWORD) -> str:
    with pytest.raises(KeystoreError) as caught:
        read_keystore(conf / "connectors" / "binance.yml", "binance", password)
    assert PAIR[1] not in str(caught.value)
    assert password not in str(caught.value)
    return str(caught.value)


def test_what_hummingbot_wrote_is_read(conf):
    verify_password(conf / ".password_verification", PASSWORD)
    assert read_keystore(conf / "connectors" / "binance.yml", "binance", PASSWORD) == PAIR
    assert WORD == PASSWORD_VERIFICATION_WORD


def test_a_wrong_password_is_found_by_the_known_word_and_by_each_secret(conf):
    path = conf / ".password_verification"
    with pytest.raises(WrongPassword) as caught:
        verify_password(path, "battery staple")
    assert str(caught.value) == f"{path}: the password does not open it"
    assert refusal(conf, "battery staple").endswith("binance.yml: binance_api_key: the password does not open it")
    assert "does not open it" in refusal(conf, "not text: \udcff")


def test_a_request_is_answered_store_by_store_and_a_wrong_password_for_all(conf):
    good, none = str(conf / "connectors" / "binance.yml"), str(conf / "connectors" / "none.yml")
    stores = [[good, "binance"], [none, "binance"], [good, "kraken"]]
    assert answer({"password": PASSWORD, "stores": stores}) == {
        "stores": [
            PAIR,
            f"{none} must be a connector's file of Hummingbot: No such file or directory",
            f"{good} must be of connector kraken, was of 'binance'",
        ]
    }
    word = conf / ".password_verification"
    assert answer({"password": "wrong", "stores": stores}) == {"wrong": f"{word}: the password does not open it"}
    word.unlink()
    expected = {"wrong": f"{good}: binance_api_key: the password does not open it"}
    assert answer({"password": "wrong", "stores": stores}) == expected


def test_without_the_known_word_only_the_secrets_tell(tmp_path):
    verify_password(tmp_path / ".password_verification", "anything")


def test_a_secret_of_another_password_is_named(conf, written):
    other = ETHKeyFileSecretManger("battery staple").encrypt_secret_value("binance_api_secret", PAIR[1])
    store(conf, binance_api_key=written["binance_api_key"], binance_api_secret=other)
    assert refusal(conf).endswith("binance_api_secret: the password does not open it")


@pytest.mark.parametrize("text", ["", "zz", "7b7d", "6e756c6c", "7b2263727970746f223a7b7d7d", PAIR[1].encode().hex()])
def test_what_is_not_encrypted_as_hummingbot_does_is_refused(conf, written, text):
    store(conf, binance_api_key=written["binance_api_key"], binance_api_secret=text)
    assert refusal(conf).endswith("binance_api_secret must be encrypted as Hummingbot does")
    (conf / ".password_verification").write_text(text)
    with pytest.raises(KeystoreError, match="must be encrypted as Hummingbot does"):
        verify_password(conf / ".password_verification", PASSWORD)


def test_another_word_is_no_verification(conf, written):
    (conf / ".password_verification").write_text(written["binance_api_key"])
    with pytest.raises(KeystoreError, match="must hold Hummingbot's own word") as caught:
        verify_password(conf / ".password_verification", PASSWORD)
    assert PAIR[0] not in str(caught.value)


def test_another_connectors_file_a_missing_secret_and_a_missing_file_are_named(conf, written):
    path = store(conf, connector="kraken", binance_api_key=written["binance_api_key"])
    assert refusal(conf) == f"{path} must be of connector binance, was of 'kraken'"
    store(conf, binance_api_key=written["binance_api_key"])
    assert refusal(conf) == f"{path} must have binance_api_secret"
    path.unlink()
    assert refusal(conf) == f"{path} must be a connector's file of Hummingbot: No such file or directory"
