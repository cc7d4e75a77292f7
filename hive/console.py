"""What `hive up` prints: a line for each thing that happens, then a summary that is rewritten on a terminal.

With --json every line is a JSON object: {"t": seconds since start, "event": ..., ...}.
"""

import json
import shutil
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

REWRITE_S = 1.0
LINE_S = 10.0


class Console:
    """Writes to a stream, from one thread.

    Args:
        started_ns: when the command was started (monotonic).
        as_json: one JSON object per line.
        stream: where to; a terminal gets its summary rewritten in place.
    """

    def __init__(self, started_ns: int, *, as_json: bool = False, stream: IO[str] | None = None) -> None:
        self._started_ns = started_ns
        self._json = as_json
        self._stream = stream or sys.stdout
        self._rewrites = not as_json and self._stream.isatty()
        self._summary = ""
        self._gone = False

    @property
    def summary_every_s(self) -> float:
        """How often summary() should be called."""
        return REWRITE_S if self._rewrites else LINE_S

    def since_start_s(self) -> float:
        """Return the seconds since the command was started."""
        return (time.monotonic_ns() - self._started_ns) / 1e9

    def say(self, event: str, text: str, **data: Any) -> None:
        """Print that something happened: `text` for people, `event` and `data` for programs."""
        elapsed_s = self.since_start_s()
        if self._json:
            self._write(json.dumps({"t": round(elapsed_s, 3), "event": event, "text": text, **data}) + "\n")
            return
        self._wipe()
        self._write(f"{elapsed_s:7.2f} s  {text}\n")
        self._write(self._summary)

    def summary(self, figures: Mapping[str, Any]) -> None:
        """Show the present figures: rewritten in place on a terminal, a line otherwise."""
        if self._json:
            self._write(json.dumps({"t": round(self.since_start_s(), 3), "event": "summary", **figures}) + "\n")
            return
        if not self._rewrites:
            self._write(f"{self.since_start_s():7.2f} s  {summary_text(figures)}\n")
            return
        self._wipe()
        # A line that wraps cannot be rewritten: what is shown fits, with one cell more for the cursor.
        self._summary = summary_text(figures, shutil.get_terminal_size().columns - 1)
        self._write(self._summary)

    def end_summary(self) -> None:
        """Leave the last summary where it is and go on below it."""
        if self._summary:
            self._write("\n")
            self._summary = ""

    def _wipe(self) -> None:
        if self._summary:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        if not text or self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the terminal or the pipe's reader went away; the fleet does not care
            self._gone = True


def summary_text(figures: Mapping[str, Any], width: int | None = None) -> str:
    """Return the summary line: the first of its parts, what is wrong before what is usual, as many as `width` takes."""
    late = figures["late_p99_ms"]
    parts = [
        f"{figures['running']}/{figures['strategies']} strategies",
        *(("HALTED",) if figures["halts"] else ()),
        f"errors {figures['errors']}",
        f"orders {figures['orders']}",
        f"fills {figures['fills']}",
        f"open {figures['open_orders']}",
        f"{figures['ticks_per_s']:.0f} ticks/s",
        f"late p99 {'-' if late is None else f'{late:.1f} ms'}",
        f"{figures['updates_per_s']:.0f} updates/s",
    ]
    text = parts[0]
    for part in parts[1:]:
        if width is not None and len(text) + 2 + len(part) > width:
            break
        text += f"  {part}"
    return text if width is None else text[: max(0, width)]
