"""The configuration files of controllers, which Hummingbot parses again every ten seconds, for each of its strategies.

Its parser is in Python: a file of 20 lines takes 2 ms. Here a text is parsed once in a process, and read again in
20 us. What a strategy gets is a copy of its own each time, and a change of a file is seen as ever: it is another text.
"""

import copy
from collections import OrderedDict
from typing import Any, TextIO

import yaml
from hummingbot.strategy import strategy_v2_base

TEXTS_MAX = 512  # that are kept; a text is a few kB


class KeptDocuments:
    """Stands for `yaml` where Hummingbot reads the files of controllers; keeps the `texts_max` that were read last."""

    def __init__(self, texts_max: int = TEXTS_MAX) -> None:
        self._texts_max = texts_max
        self.last = ""  # path of the file that was read last
        self._documents: OrderedDict[str, Any] = OrderedDict()  # by their text; the one used last is at the end

    def safe_load(self, file: TextIO) -> Any:
        """Return the document of an open text file, as yaml.safe_load() does, for the caller to change as it likes.

        Raises:
            yaml.YAMLError: naming the file.
        """
        self.last = file.name
        text = file.read()
        if text in self._documents:
            self._documents.move_to_end(text)
        else:
            file.seek(0)
            self._documents[text] = yaml.safe_load(file)
            if len(self._documents) > self._texts_max:
                self._documents.popitem(last=False)
        return copy.deepcopy(self._documents[text])


DOCUMENTS = KeptDocuments()


def install() -> None:
    """Stand in for the parser of controllers' configurations, in this process and those that are forked from it."""
    strategy_v2_base.yaml = DOCUMENTS
