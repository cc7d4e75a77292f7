"""The gate's log: one file, and nothing of the keys in it."""

import logging
import re

from hive.gate.settings import GateSettings
from hive.shm.channel import Channel

_SIGNATURE = re.compile(r"(signature['\"]?\s*[=:]\s*['\"]?)[0-9a-fA-F]{16,}")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class KeepSecrets(logging.Filter):
    """Blanks keys, secrets and signatures in whatever a record would print.

    Args:
        secrets: texts that must not appear
    """

    def __init__(self, secrets: list[str]) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; keep it."""
        record.msg = self.clean(record.getMessage())
        record.args = ()
        if record.exc_info:
            record.exc_text = self.clean(logging.Formatter().formatException(record.exc_info))
        return True

    def clean(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _SIGNATURE.sub(r"\1***", text)


class ToSupervisor(logging.Handler):
    """Sends errors up the control channel, as events; what is critical as alarms, which it keeps and shows."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.ERROR)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, without its traceback."""
        text = f"{record.name}: {record.getMessage()}"
        if record.levelno >= logging.CRITICAL:
            venue = record.name.partition(".")[2]
            self._channel.send({"type": "alarm", "venue": venue or None, "text": text})
        else:
            self._channel.send({"type": "event", "level": record.levelname.lower(), "text": text})


def report_errors(log: logging.Logger, channel: Channel) -> None:
    """Send the errors of `log` and its children to the supervisor too, as clean as they go into the file."""
    handler = ToSupervisor(channel)
    for cleaner in [item for root in logging.getLogger().handlers for item in root.filters]:
        handler.addFilter(cleaner)
    log.addHandler(handler)


def open_log(settings: GateSettings) -> logging.Logger:
    """Send every logger of this process to the gate's file (stderr without one) and return the gate's own."""
    handler = logging.FileHandler(settings.log_file) if settings.log_file else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    secrets = [text for venue in settings.venues for text in (venue.api_secret, venue.api_key)]
    handler.addFilter(KeepSecrets(secrets))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    return logging.getLogger("gate")
