"""Nothing of the keys reaches the log."""

import logging

from hive.gate.log import KeepSecrets


def record(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("gate", logging.ERROR, __file__, 1, text, arguments, None)


def test_secrets_and_signatures_are_blanked():
    cleaner = KeepSecrets(["top-secret", "the-api-key"])
    dirty = record("%s and %s", "a=top-secret", {"signature": "c8db56825ae71d6d79447849e617115f"})
    assert cleaner.filter(dirty)
    assert dirty.getMessage() == "a=*** and {'signature': '***'}"
    url = record("GET /api/v3/order?apiKey=the-api-key&signature=c8db56825ae71d6d79447849e617115f")
    cleaner.filter(url)
    assert url.getMessage() == "GET /api/v3/order?apiKey=***&signature=***"


def test_a_tracebacks_text_is_cleaned_too():
    cleaner = KeepSecrets(["top-secret"])
    try:
        raise ValueError("top-secret was wrong")
    except ValueError as error:
        broken = logging.LogRecord("gate", logging.ERROR, __file__, 1, "broke", (), (ValueError, error, None))
    cleaner.filter(broken)
    assert "top-secret" not in logging.Formatter().format(broken)
    assert "***" in logging.Formatter().format(broken)
