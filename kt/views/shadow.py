"""What KT would have done while it was a shadow, and what became of those incidents without it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kt.incident.events import PlanProposed
from kt.incident.log import Record
from kt.incident.state import fold
from kt.views.words import span


class Would(msgspec.Struct, frozen=True, kw_only=True):
    """One plan that was not carried out since the guard was off."""

    incident: str
    at: datetime
    cause: str
    probability: float
    playbook: str
    steps: tuple[str, ...]
    touches: tuple[str, ...]
    approvals: int
    """How many people KT would have asked; 0: none."""
    would_only_propose: str = ""
    """Why it would not have acted even if it were switched on."""
    after_s: float
    """From the first alert to the plan."""
    ended_after_s: float | None
    """From the plan until the last alert ended without KT; None: they still fire."""


def would_have(records: Sequence[Record]) -> list[Would]:
    """What one incident's log says; empty when nothing was held back only because the guard was off."""
    if not records:
        return []
    state = fold(records[0].incident, (record.event for record in records))
    ends = [signal.ends_at for signal in state.signals.values()]
    ended = max((at for at in ends if at is not None), default=None) if None not in ends else None
    begun = min((signal.starts_at for signal in state.signals.values()), default=records[0].event.at)
    found = []
    for record in records:
        event = record.event
        if not isinstance(event, PlanProposed) or not event.shadow:
            continue
        cause = event.plan.hypothesis
        found.append(
            Would(
                incident=record.incident,
                at=event.at,
                cause=f"{cause.fault} of {cause.entity}",
                probability=cause.probability,
                playbook=event.plan.playbook,
                steps=tuple(step.summary or step.action for step in event.plan.steps),
                touches=event.plan.blast_radius,
                approvals=event.approvals_needed,
                would_only_propose=event.plan.propose_only,
                after_s=max(0.0, (event.at - begun).total_seconds()),
                ended_after_s=max(0.0, (ended - event.at).total_seconds()) if ended else None,
            )
        )
    return found


def report(found: Sequence[Would], incidents: int, short: dict[str, str]) -> RenderableType:
    """For eyes: a summary, then one row for each, latest first."""
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("WHEN", no_wrap=True)
    table.add_column("INCIDENT", no_wrap=True)
    table.add_column("WHAT KT WOULD HAVE DONE", ratio=1)
    for each in sorted(found, key=lambda each: each.at, reverse=True):
        table.add_row(f"{each.at:%m-%d %H:%M}", short[each.incident], _row(each))
    return Group(Text(_summary(found, incidents), style="bold"), table)


def _row(each: Would) -> Text:
    if each.would_only_propose:
        consent = f"only proposed it: {each.would_only_propose}"
    else:
        consent = f"asked {each.approvals}" if each.approvals else "asked nobody"
    without = "still fires" if each.ended_after_s is None else f"ended without it {span(each.ended_after_s)} later"
    return Text.assemble(
        ("; ".join(each.steps), "bold"),
        (f"\nfor {each.cause} ({each.probability:.0%}); {span(each.after_s)} after the first alert; {consent}", "dim"),
        (f"\n{without}", "green" if each.ended_after_s is not None else "yellow"),
    )


def _summary(found: Sequence[Would], incidents: int) -> str:
    if not found:
        return f"Of {incidents} incidents, KT would have acted on none."
    counts = Counter(each.playbook for each in found)
    asked = sum(1 for each in found if each.approvals or each.would_only_propose)
    kinds = ", ".join(f"{count} × {name}" for name, count in counts.most_common())
    return f"{len(found)} plans for {incidents} incidents ({kinds}); {asked} of them only after asking a person."


def since(entries: Iterable[tuple[str, datetime]], at: datetime) -> list[str]:
    """The incidents opened at or after a time."""
    return [incident for incident, opened_at in entries if opened_at >= at]
