"""How a machine asks what a probe asks: the few forms of question and answer that need no judgement. Pure.

Questions to Prometheus are PromQL; the answer is one comparison with a number. Questions to Kubernetes are

    KIND/NAME                        not found
    KIND/NAME: PATH                  = VALUE [or VALUE …]
    KIND/NAME: condition TYPE        = VALUE, != VALUE
    pods of KIND/NAME: PATH          = VALUE [or VALUE …]       any of them
    events of KIND/NAME              REASON [or REASON …]
    events of the pods of KIND/NAME  REASON [or REASON …]

where PATH is dotted; `state.` and `lastState.` are those of a pod's containers. What stands in brackets at the end of
an answer is for people. Anything else is a question for a person.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

Form = Literal["promql", "exists", "field", "condition", "pods", "events", "events of pods"]
NOT_FOUND = "not found"
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_NUMBER = re.compile(r"(=|!=|>=|<=|>|<) (-?\d+(?:\.\d+)?)")
_VALUES = re.compile(r"(=|!=) (\S+(?: or \S+)*)")
_REASONS = re.compile(r"[A-Z]\w+(?: or [A-Z]\w+)*")
_ASKED = re.compile(r"(events of the pods of |events of |pods of |)([A-Za-z]+)/([^\s:/]+)(?:: (condition )?(\S+))?")
_FORMS: Mapping[str, Form] = {
    "events of the pods of ": "events of pods", "events of ": "events", "pods of ": "pods", "": "field",
}  # fmt: skip


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question that a machine can ask, and the answers that confirm the fault."""

    form: Form
    promql: str = ""
    kind: str = ""
    name: str = ""
    path: str = ""
    """Of the field or the type of the condition."""
    comparison: str = "="
    values: tuple[str, ...] = ()


def question(promql: str, kubernetes: str, confirms: str) -> Question | None:
    """The question that these words ask; None when only a person can ask or judge it."""
    said = re.sub(r"\s*\([^)]*\)$", "", confirms)
    if promql:
        number = _NUMBER.fullmatch(said)
        return Question(form="promql", promql=promql, comparison=number[1], values=(number[2],)) if number else None
    asked = _ASKED.fullmatch(kubernetes)
    if asked is None:
        return None
    prefix, kind, name, condition, path = asked.groups()
    form: Form = _FORMS[prefix]
    if form in ("events", "events of pods"):
        fits = not path and _REASONS.fullmatch(said)
        return Question(form=form, kind=kind, name=name, values=tuple(said.split(" or "))) if fits else None
    if form == "field" and not path:
        return Question(form="exists", kind=kind, name=name) if said == NOT_FOUND else None
    values = _VALUES.fullmatch(said)
    if values is None or not path:
        return None
    return Question(
        form="condition" if condition else form, kind=kind, name=name, path=path, comparison=values[1],
        values=tuple(values[2].split(" or ")),
    )  # fmt: skip


def judged_number(asked: Question, values: Sequence[float]) -> bool | None:
    """Whether any series confirms; None when there is none: a metric that nobody collects says nothing."""
    known = [value for value in values if value == value]
    compare, bound = _COMPARISONS[asked.comparison], float(asked.values[0])
    return any(compare(value, bound) for value in known) if known else None


def judged_words(asked: Question, found: Sequence[str]) -> bool | None:
    """Whether any value that was read confirms; None when nothing was there to be read."""
    if not found:
        return None
    wanted = set(asked.values)
    return any((each in wanted) == (asked.comparison == "=") for each in found)


def read(asked: Question, thing: Mapping[str, Any]) -> list[str]:
    """The values of the question's field in an object of the Kubernetes API, as words."""
    status = thing.get("status") or {}
    if asked.form == "condition":
        return [str(each.get("status")) for each in status.get("conditions") or [] if each.get("type") == asked.path]
    places: list[Any] = [thing]
    if asked.path.startswith(("state.", "lastState.")):
        places = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [_word(value) for place in places for value in _at(place, asked.path.split("."))]


def _at(place: Any, path: list[str]) -> Iterator[Any]:
    for part in path:
        place = place.get(part) if isinstance(place, Mapping) else None
    if isinstance(place, str | int | float | bool):
        yield place


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
