"""What a demo says: where it is, how to get in, and how it ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

from foldlog.demo.journeys import HOSTS
from foldlog.demo.made import Made
from foldlog.demo.place import Place
from foldlog.demo.trickle import Trickle
from shared.settings import Settings, format_address
from shared.sign_in_code import create_code
from shared.systemd_notify import Notifier


def say(text: str) -> None:
    print(text, flush=True)


class Greeting(Notifier):
    """Once the server is ready: says what to open, and starts the trickle. On a
    terminal, Enter makes another link.
    """

    def __init__(self, began: float, place: Place, settings: Settings, made: Made, trickle: Trickle) -> None:
        super().__init__()
        self._began, self._place, self._settings, self._made = began, place, settings, made
        self._trickle = trickle
        self._is_asked = sys.stdin is not None and sys.stdin.isatty()

    def ready(self, status: str) -> None:
        super().ready(status)
        say(self._text())
        self._trickle.start()
        if self._is_asked:
            threading.Thread(target=self._answer_enter, name="enter", daemon=True).start()

    def _text(self) -> str:
        port, seconds = self._settings.listen[1], time.monotonic() - self._began
        more = " Enter prints another link." if self._is_asked else ""
        end = f"keeps {self._place.root}" if self._place.is_kept else "removes everything"
        return (
            f"\nReady after {seconds:.0f} s: {self._made.lines:,} events of {self._made.days} days.\n\n"
            f"  Dashboard  {self._link()}\n"
            f"  Shop       http://{format_address(HOSTS['shop'], port)}/demo/\n\n"
            "The link signs you in once, within an hour." + more + " What you do in the shop is counted after some\n"
            f"ten seconds, among visits that go on arriving. Ctrl-C ends the demo and {end}."
        )

    def _link(self) -> str:
        return f"{self._settings.dashboard}#code={create_code(self._place.data)}"

    def _answer_enter(self) -> None:
        with suppress(OSError):  # the terminal was closed, or the disk is full
            while os.read(0, 4096):  # not sys.stdin, whose lock would be held at exit
                say(f"  Dashboard  {self._link()}")


def farewell(place: Place) -> str:
    if not place.is_kept:
        return "\nEnded; nothing is left behind."
    return f"\nEnded; it stays in {place.root}. Serve it again: foldlog --config {place.config} serve"
