"""The venue's errors: a code, a message and the HTTP status they travel with.

The codes and texts are those of Binance's published error list; a text with a value in it is made by a function.
"""
from __future__ import annotations

BAD_REQUEST = 400
UNAUTHORIZED = 401
TOO_MANY_REQUESTS = 429
BANNED = 418
SERVICE_UNAVAILABLE = 503

UNKNOWN = -1000
TOO_MANY_WEIGHT = -1003
INVALID_MESSAGE = -1013
TOO_MANY_ORDERS = -1015
INVALID_TIMESTAMP = -1021
INVALID_SIGNATURE = -1022
ILLEGAL_CHARS = -1100
TOO_MANY_PARAMETERS = -1101
MANDATORY_PARAMETER = -1102
UNREAD_PARAMETERS = -1104
PARAMETER_EMPTY = -1105
PARAMETER_NOT_REQUIRED = -1106
BAD_PRECISION = -1111
INVALID_TIF = -1115
INVALID_ORDER_TYPE = -1116
INVALID_SIDE = -1117
INVALID_INTERVAL = -1120
BAD_SYMBOL = -1121
BAD_COMBINATION = -1128
INVALID_PARAMETER = -1130
INVALID_JSON = -1135
ORDER_REJECTED = -2010
CANCEL_REJECTED = -2011
NO_SUCH_ORDER = -2013
BAD_API_KEY_FORMAT = -2014
REJECTED_API_KEY = -2015

UNKNOWN_OUTCOME = "Unknown error, please check your request or try again later."


class VenueError(Exception):
    """A refusal as the venue words it.

    code: the venue's negative error code; message: its text; status: the HTTP status (also the `status` of a
    WebSocket API response); retry_at_ms: wall ms when to come back, or 0.
    """

    def __init__(self, code: int, message: str, status: int = BAD_REQUEST, retry_at_ms: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_at_ms = retry_at_ms


def missing(name: str) -> VenueError:
    """Return the error for a mandatory parameter that is absent, empty or malformed."""
    return VenueError(MANDATORY_PARAMETER, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> VenueError:
    """Return the error for a parameter with characters outside its legal pattern."""
    return VenueError(ILLEGAL_CHARS, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def not_required(name: str) -> VenueError:
    """Return the error for a parameter that this kind of order must not carry."""
    return VenueError(PARAMETER_NOT_REQUIRED, f"Parameter '{name}' sent when not required.")


def filter_failure(name: str) -> VenueError:
    """Return the error for an order that a symbol's filter refuses."""
    return VenueError(INVALID_MESSAGE, f"Filter failure: {name}")


def bad_symbol() -> VenueError:
    """Return the error for a symbol that is not listed."""
    return VenueError(BAD_SYMBOL, "Invalid symbol.")
