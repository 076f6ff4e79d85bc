"""The list of incidents: one line each, and what the operator must not overlook."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from rich.table import Table
from rich.text import Text

from kt.incident.log import Entry, IncidentLog, Record
from kt.incident.state import State, fold, summary
from kt.views.words import COLOURS, SEAL, short_ids, span, unmapped, waiting


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An incident with what a list says of it."""

    entry: Entry
    records: list[Record]
    state: State


def look_up(log: IncidentLog, entries: Sequence[Entry]) -> list[Listed]:
    found = []
    for entry in entries:
        records = log.load(entry.incident)
        state = fold(entry.incident, (record.event for record in records))
        found.append(Listed(entry=entry, records=records, state=state))
    return found


def listing(listed: Sequence[Listed], now: datetime, ids: Sequence[str] = ()) -> Table:
    """`ids`: all ids that a beginning must tell apart; those listed when left out."""
    short = short_ids([*ids] or [each.entry.incident for each in listed])
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("INCIDENT", no_wrap=True)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("PHASE", no_wrap=True)
    table.add_column("WHAT, AND WHAT IT WAITS FOR", ratio=1)
    for each in listed:
        age = span((now - each.entry.opened_at).total_seconds())
        style = COLOURS.get(each.entry.phase, "cyan")
        table.add_row(short[each.entry.incident], age, Text(each.entry.phase, style=style), _what(each, now))
    return table


def _what(each: Listed, now: datetime) -> Text:
    said = waiting(each.state, each.records, now)
    lost = [signal.name for signal in unmapped(each.state)]
    parts = [Text(each.entry.summary, style="bold"), Text(said if each.state.ended else f"waits {said}", style="dim")]
    if lost:
        names = ", ".join(sorted(set(lost)))
        parts.append(Text(f"maps to no known object, for a person to look at: {names}", style="yellow"))
    return Text("\n").join(parts)


def deciding(listed: Sequence[Listed], now: datetime, ids: Sequence[str]) -> Table:
    """What waits for a decision: what would be done, who agreed so far, and the two commands."""
    short = short_ids(ids)
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("INCIDENT", no_wrap=True)
    table.add_column("LEFT", justify="right", no_wrap=True)
    table.add_column("RISK", no_wrap=True)
    table.add_column("WHAT WOULD BE DONE", ratio=1)
    for each in listed:
        state, id_ = each.state, short[each.entry.incident]
        left = span((state.expires_at - now).total_seconds()) if state.expires_at else ""
        risk = state.plan.risk if state.plan else ""
        table.add_row(id_, left, risk, _asked(state, id_))
    return table


def _asked(state: State, short: str) -> Text:
    steps = "; ".join(step.summary or step.action for step in state.plan.steps) if state.plan else ""
    if state.undo is not None:
        asked = state.undo.asked
        steps = f"take back, asked for by {asked.by}{': ' + asked.why if asked.why else ''}: {steps}"
    agreed = ", ".join(sorted(state.agreed)) or "nobody yet"
    return Text.assemble(
        (f"{steps}\n", "bold"),
        (f"for {summary(state)}; {len(state.agreed)} of {state.approvals_needed} agreed ({agreed})\n", "dim"),
        (f"kt approve {short} --plan {state.digest[:SEAL]}", "yellow"),
        (f"\nkt reject {short} --why …", "yellow"),
        (f"   kt show {short}", "cyan"),
    )  # fmt: skip


def plain(each: Listed, now: datetime) -> dict[str, object]:
    """The same for machines: the index's entry, and what the list adds to it."""
    lost = [{"name": signal.name, "labels": signal.labels} for signal in unmapped(each.state)]
    return {
        **msgspec.to_builtins(each.entry),
        "waits_for": waiting(each.state, each.records, now),
        "approvals": {
            "needed": each.state.approvals_needed if each.state.plan else 0,
            "given": sorted(each.state.agreed),
            "plan": each.state.digest,
        },
        "unmapped": lost,
    }
