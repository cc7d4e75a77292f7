"""`hive top` on a terminal. Curses only: what is measured comes from top_sample.py, what is drawn from top_view.py.

The page of the gate (key g) is drawn by gate_view.py.
"""

import curses
import locale
import os
import time
from dataclasses import replace
from typing import Any

from hive import report
from hive.cli_errors import Failure
from hive.gate_view import draw_page
from hive.top_sample import Sample, Sampler
from hive.top_view import HOT_KEYS, Frame, Look, Style, draw

POLL_MS = 100
PSS_EVERY_S = 5.0
ESCAPE = 27


class Top:
    """The running tool.

    Args:
        sampler: of the fleet.
        interval_s: between two samples.
        sort: what to sort by at first.
    """

    def __init__(self, sampler: Sampler, interval_s: float, sort: str = "id") -> None:
        self._sampler = sampler
        self._interval_s = interval_s
        self._look = Look(sort=sort)
        self._frame: Frame | None = None
        self._before: tuple[float, Sample] | None = None
        self._due = 0.0
        self._pss_due = 0.0
        self._pss: dict[Any, int | None] = {}
        self._leave = False
        self._last_offset = 0

    def run(self) -> None:
        """Take over the terminal until the operator leaves.

        Raises:
            Failure: it is none that can be drawn on.
        """
        locale.setlocale(locale.LC_ALL, "")
        try:
            curses.wrapper(self._loop)
        except curses.error as error:
            kind = os.environ.get("TERM", "")
            raise Failure(f"this terminal cannot be drawn on (TERM={kind}): {error}; see `hive top --once`") from None
        except KeyboardInterrupt:
            pass

    def _loop(self, window: Any) -> None:
        styles = _styles()
        window.keypad(True)
        self._measure(time.monotonic())
        while not self._leave and os.isatty(0):  # a terminal that went away is none any more
            self._put(window, styles)
            window.timeout(self._patience_ms())
            self._on_key(window.getch())
            now = time.monotonic()
            if now >= self._due and not self._look.paused:
                self._measure(now)

    def _patience_ms(self) -> int:
        left_s = self._due - time.monotonic()
        return POLL_MS if self._look.paused else max(1, min(POLL_MS, int(left_s * 1e3)))

    def _measure(self, now: float) -> None:
        late_s = max(0.0, now - self._due) if self._due else 0.0
        self._due = max(now, self._due + self._interval_s) if self._due else now + self._interval_s
        self._frame = self.frame(now, late_s)

    def frame(self, now: float, late_s: float = 0.0) -> Frame | None:
        """Take a sample and return the frame of it and the one before."""
        with_pss = now >= self._pss_due
        sample = self._sampler.sample(pss=with_pss)
        if sample is None:
            return None
        if with_pss:
            self._pss_due = now + PSS_EVERY_S
            self._pss = {member: facts.pss for member, facts in sample.facts.items()}
        facts = {member: replace(one, pss=self._pss.get(member)) for member, one in sample.facts.items()}
        sample = replace(sample, facts=facts)
        then, before = self._before or (now, sample)
        self._before = (now, sample)
        recent = sample.since(before)
        return Frame(
            report.build(sample), report.build(recent), max(now - then, 1e-9), sample.took_ns, int(late_s * 1e9)
        )

    def _put(self, window: Any, styles: dict[Style, int]) -> None:
        height, width = window.getmaxyx()
        if self._frame is None:
            return
        page = draw_page if self._look.gate else draw
        screen = page(self._frame, self._look, width, height)
        self._last_offset = screen.last_offset
        window.erase()
        for row, line in enumerate(screen.lines):
            try:
                window.addnstr(row, 0, line.text.ljust(width), width, styles[line.style])
            except curses.error:
                pass  # the last cell of a terminal cannot be written without scrolling; or it has just shrunk
        window.refresh()

    def _on_key(self, key: int) -> None:
        if key == -1:
            return
        if key == curses.KEY_RESIZE:
            curses.update_lines_cols()
        elif self._look.typing:
            self._on_typed(key)
        elif key in (ord("q"), ord("Q")):
            self._leave = True
        elif key == ESCAPE:
            self._look = replace(self._look, help=False, gate=False, filter="")
        elif key in (ord("h"), ord("?"), curses.KEY_F1):
            self._look = replace(self._look, help=not self._look.help)
        elif key == ord("g"):
            self._look = replace(self._look, gate=not self._look.gate, help=False, offset=0)
        elif key in (ord("p"), ord(" ")):
            self._look = replace(self._look, paused=not self._look.paused)
        elif key in (ord("/"), ord("\\")):
            self._look = replace(self._look, typing=True, filter="", help=False)
        elif key == ord("r"):
            self._look = replace(self._look, reverse=not self._look.reverse)
        elif 0 <= key < 256 and chr(key) in HOT_KEYS:
            self._look = replace(self._look, sort=HOT_KEYS[chr(key)], offset=0)
        else:
            self._scroll(key)

    def _on_typed(self, key: int) -> None:
        text = self._look.filter
        if key in (curses.KEY_ENTER, ord("\n"), ord("\r")):
            self._look = replace(self._look, typing=False)
        elif key == ESCAPE:
            self._look = replace(self._look, typing=False, filter="")
        elif key in (curses.KEY_BACKSPACE, 8, 127):
            self._look = replace(self._look, filter=text[:-1])
        elif 32 <= key < 127:
            self._look = replace(self._look, filter=text + chr(key), offset=0)

    def _scroll(self, key: int) -> None:
        steps = {
            curses.KEY_UP: -1,
            curses.KEY_DOWN: 1,
            curses.KEY_PPAGE: -10,
            curses.KEY_NPAGE: 10,
            curses.KEY_HOME: -(10**9),
            curses.KEY_END: 10**9,
        }
        if key in steps:
            offset = min(self._last_offset, self._look.offset) + steps[key]
            self._look = replace(self._look, offset=max(0, min(self._last_offset, offset)))


def _styles() -> dict[Style, int]:
    curses.curs_set(0) if curses.tigetstr("civis") else None
    styles = {
        Style.PLAIN: curses.A_NORMAL,
        Style.TITLE: curses.A_BOLD,
        Style.HEAD: curses.A_REVERSE,
        Style.DIM: curses.A_DIM,
        Style.BAD: curses.A_BOLD,
    }
    if curses.has_colors() and not os.environ.get("NO_COLOR"):
        curses.use_default_colors()
        curses.init_pair(1, curses.COLOR_RED, -1)
        styles[Style.BAD] = curses.color_pair(1) | curses.A_BOLD
    return styles
