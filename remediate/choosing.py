"""Which remedy first: by its fit, what became of it before, what it risks and costs, how soon it helps. Pure.

The worth of a remedy is the chance that it helps less what it may do to others: worth = chance - risk - cost - time,
all between 0 and 1. The chance begins with the catalogue's order and what the diagnosis blames, and is moved by trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from graph_schema.model import Hypothesis
from remediate.playbook import Playbook
from remediate.trials import Trial, chance, rate

FITS = 0.8
"""The belief that the catalogue's first remedy of a fault helps, before any trial; each next one has `NEXT` of it."""
NEXT = 0.75
NOT_BLAMED = 0.5
"""A remedy that takes a change back fits half as well where no such change is blamed."""
RISK = {"low": 0.0, "medium": 0.05, "high": 0.15}
COST = {"none": 0.0, "some": 0.03, "much": 0.1}
SLOW = 0.1
SLOW_S = 600.0
"""A remedy that takes so long or longer is worth `SLOW` less; shorter ones in proportion."""
ENOUGH = 5
"""Trials before a record alone can make KT ask."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy with its worth and why."""

    playbook: str
    chance: float
    worth: float
    effect_s: float
    """How long it is expected to take."""
    record: str
    """What became of it before, in words; empty where it was never tried."""


def ranked(
    hypothesis: Hypothesis, remedies: Sequence[str], playbooks: Mapping[str, Playbook], trials: Sequence[Trial]
) -> list[Choice]:
    """The remedies of a fault, the best first; equally good ones in the catalogue's order. `trials`: of this fault."""
    choices = [
        choice(hypothesis, playbooks[name], FITS * NEXT**place, [each for each in trials if each.playbook == name])
        for place, name in enumerate(remedies)
        if name in playbooks
    ]
    return sorted(choices, key=lambda each: -each.worth)


def choice(hypothesis: Hypothesis, playbook: Playbook, fits: float, trials: Sequence[Trial]) -> Choice:
    blamed = hypothesis.change.kind if hypothesis.change else ""
    if playbook.takes_back and blamed not in playbook.takes_back:
        fits *= NOT_BLAMED
    helps, before = chance(trials, hypothesis.entity, fits), rate(trials)
    effect_s = playbook.effect_s if before.median_s is None else before.median_s
    worth = helps - RISK[playbook.risk] - COST[playbook.cost] - SLOW * min(1.0, effect_s / SLOW_S)
    return Choice(
        playbook=playbook.name, chance=helps, worth=worth, effect_s=effect_s, record=_record(trials, hypothesis.entity)
    )


def asks(trials: Sequence[Trial]) -> bool:
    """Whether its record is too poor for KT to act on its own word: more likely than not that it does not help."""
    before = rate(trials)
    return before.tried >= ENOUGH and before.high < 0.5


def expected(chosen: Choice) -> str:
    """What the approver is told to expect."""
    record = f"; {chosen.record}" if chosen.record else "; it was never tried for this fault"
    return f"helps in about {chosen.effect_s:.0f} s with {chosen.chance:.0%}{record}"


def _record(trials: Sequence[Trial], target: str) -> str:
    if not trials:
        return ""
    every, mine = rate(trials), rate([each for each in trials if each.target == target])
    words = f"helped {every.helped} of {every.tried} times ({every.low:.0%} to {every.high:.0%})"
    return words + (f", here {mine.helped} of {mine.tried}" if mine.tried else ", never tried here")
