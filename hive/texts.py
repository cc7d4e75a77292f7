"""Texts from outside that are shown to people, in a terminal or a log: what would act there is written out instead.

    "a\\x1b[2Jb"  (an escape that clears the screen)  ->  a\\x1b[2Jb, as six more letters
"""

import re

_ACTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, line ends, halves of a pair


def visible(text: str) -> str:
    """Return a text whose control characters are written as Python escapes."""
    return _ACTS.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str, most: int) -> str:
    """Return at most so many characters of a text on one line, visible and with single spaces."""
    return visible(" ".join(text.split()))[:most]
