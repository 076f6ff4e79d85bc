"""The live view of a demo: stages that light up, and the timeline under them."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kt.incident.log import Record
from kt.incident.state import State
from kt.views.live import line
from kt.views.screen import timeline

STAGES = ("break", "sense", "diagnose", "remediate", "verify", "healed")
_REACHED = {
    "new": 2,
    "diagnosed": 3,
    "awaiting approval": 3,
    "acting": 3,
    "undoing": 3,
    "verifying": 4,
    "healed": 6,
    "escalated": 5,
    "undone": 6,
}
"""Phase → how many stages are done."""


class StageView:
    """`say` for what is no event, `tell` for each event. Plain lines where the output is no terminal.

    `quiet`: nothing at all."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, quiet=quiet)
        self._quiet = quiet
        self._begun = time.monotonic()
        self._state: State | None = None
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(get_renderable=self._header, console=self._console, refresh_per_second=8)

    def __enter__(self) -> StageView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Give the terminal back, to ask something or for good."""
        if self._live:
            self._live.stop()

    def go_on(self) -> None:
        if self._live:
            self._live.start()

    def say(self, text: str, *, style: str = "") -> None:
        self._console.print(Text(text, style=style))

    def broken(self) -> None:
        """Seconds count from here."""
        self._begun = time.monotonic()
        self._state = self._state or State(id="")

    def tell(self, record: Record, state: State, seconds: float) -> None:
        self._state = state
        if self._live:
            shown = Table.grid(padding=(0, 1))
            shown.add_row(Text(f"{seconds:5.1f} s", style="dim"), timeline([record]))
            self._console.print(shown)
        elif not self._quiet:
            click.echo(f"{seconds:6.1f} s  {line(record)}")

    def _header(self) -> Table:
        """The stages in a row: done, under way, still to come."""
        head = Table.grid(padding=(0, 2))
        reached = 0
        if self._state is not None:
            reached = _REACHED[self._state.phase] if self._state.version else 1
        escalated = self._state is not None and self._state.phase == "escalated"
        spinner = "◐◓◑◒"[int(time.monotonic() * 6) % 4]
        cells = []
        for number, name in enumerate(STAGES):
            if escalated and number == len(STAGES) - 1:
                cells.append(Text("✗ a person is told", style="bold red"))
            elif number < reached:
                cells.append(Text(f"● {name}", style="bold green"))
            elif number == reached:
                cells.append(Text(f"{spinner} {name}", style="bold yellow"))
            else:
                cells.append(Text(f"○ {name}", style="dim"))
        elapsed = f"{time.monotonic() - self._begun:.0f} s" if self._state is not None else "starting"
        head.add_row(*cells, Text(elapsed, style="dim"))
        return head
