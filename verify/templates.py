"""From a fault mode to an experiment: plain Chaos Toolkit, from data (`verify/knowledge`), for anybody to run.

A fault mode is either repeated by an attack, within the smallest radius that shows it, for a limited time and with
rollbacks; or, where it must not be repeated, its fix is watched for longer (`verify.passive`). The steady state comes
from its symptoms. All values are in the experiment's `configuration`, so that `chaos run --var` changes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

from graph_schema.catalogue import FaultMode
from graph_schema.located import BadKnowledge
from verify.passive import watch_for

Radius = Literal["pod", "client", "service", "workload", "node", "namespace"]
MOST_PROBES = 3
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SHORT: dict[str, dict[str, Any]] = {
    "hold": {"do": "verify.actions.hold", "name": "let it last", "with": {"seconds": "${seconds}"}},
    "restore": {"do": "verify.actions.restore_object", "name": "as it was before",
                "with": {"kind": "${workload_kind}", "namespace": "${namespace}", "name": "${workload}"}},
    # Not chaosk8s.node: its uncordon would also let go of a node that somebody else had cordoned before.
    "cordoned": {"do": "verify.actions.change_field", "name": "cordon the node",
                 "with": {"kind": "Node", "namespace": "", "name": "${node}", "pointer": "/spec/unschedulable",
                          "value": True}},
    "uncordoned": {"do": "verify.actions.restore_object", "name": "the node as it was before",
                   "with": {"kind": "Node", "namespace": "", "name": "${node}"}},
    "ready": {"do": "verify.actions.await_ready", "name": "all replicas are there again",
              "with": {"kind": "${workload_kind}", "name": "${workload}", "namespace": "${namespace}",
                       "within_s": "${recover_s}"}},
}  # fmt: skip


class Attack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How some fault modes are repeated."""

    name: str = ""
    about: str
    radius: Radius
    nearest: str = ""
    """Why this is done instead of the very same thing; empty: it is the same."""
    faults: tuple[str, ...]
    method: tuple[str | dict[str, Any], ...]
    rollbacks: tuple[str | dict[str, Any], ...]


class Passive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why some fault modes are not repeated."""

    name: str = ""
    why: str
    faults: tuple[str, ...]


class Sight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The probe that sees some symptoms, for something that has what it needs."""

    symptoms: tuple[str, ...]
    needs: tuple[str, ...]
    probe: dict[str, Any]


class Variable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    default: Any
    about: str


class _Symptoms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    probes: tuple[Sight, ...]
    otherwise: dict[str, Any]
    variables: dict[str, Variable]


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All templates by fault mode, and what they are put together from."""

    attacks: dict[str, Attack]
    passive: dict[str, Passive]
    sights: tuple[Sight, ...]
    otherwise: dict[str, Any]
    variables: dict[str, Variable]

    def of(self, fault: str) -> Attack | Passive | None:
        return self.attacks.get(fault) or self.passive.get(fault)


@cache
def load_templates() -> Book:
    """Those that come with KT. Raises `BadKnowledge`."""
    attacks: dict[str, Attack] = {}
    passive: dict[str, Passive] = {}
    for name, attack in _read("attacks.yaml", dict[str, Attack]).items():
        attacks |= dict.fromkeys(attack.faults, msgspec.structs.replace(attack, name=name))
    for name, each in _read("passive.yaml", dict[str, Passive]).items():
        passive |= dict.fromkeys(each.faults, msgspec.structs.replace(each, name=name))
    symptoms = _read("symptoms.yaml", _Symptoms)
    return Book(
        attacks=attacks,
        passive=passive,
        sights=symptoms.probes,
        otherwise=symptoms.otherwise,
        variables=symptoms.variables,
    )


def experiment_of(
    book: Book, fault: FaultMode, values: Mapping[str, Any], about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The experiment for a fault mode, with `values` for its variables (the rest as by default).

    `about`: more for the extension metadata, such as the incident and the entities. Raises `BadKnowledge` for a fault
    mode without a template, and for a value whose name no variable has.
    """
    template = book.of(fault.name)
    if template is None:
        raise BadKnowledge(f"{fault.name} has no template: add it to verify/knowledge/attacks.yaml or passive.yaml")
    unknown = sorted(set(values) - set(book.variables))
    if unknown:
        raise BadKnowledge(f"“{unknown[0]}” is no variable of a template; {', '.join(sorted(book.variables))} are")
    if isinstance(template, Attack):
        method, rollbacks = [_activity(each) for each in template.method], [_activity(e) for e in template.rollbacks]
        description = f"Repeats {fault.name}: {template.about} {template.nearest}".strip()
        mine = {"kind": "attack", "attack": template.name, "radius": template.radius}
    else:
        watch = watch_for(fault.onset_s)
        values = {"watch_s": watch.seconds, **values}
        method, rollbacks = [_watch()], []
        description = f"Watches whether {fault.name} comes back, without repeating it. {template.why}"
        mine = {"kind": "passive", "reason": template.name, "radius": "none"}
        mine |= {"confidence": watch.confidence}  # type: ignore[dict-item]  # a share, beside words
    needed = set(_variables([method, rollbacks]))
    steady = _steady(book, fault, needed, values)
    body = {
        "steady-state-hypothesis": {"title": f"No sign of {fault.name}", "probes": steady},
        "method": method,
        "rollbacks": rollbacks,
    }
    used = sorted(set(_variables(body)))
    return {
        "version": "1.0.0",
        "title": f"Does it hold against {fault.name}?",
        "description": description,
        "tags": ["kt", mine["kind"]],
        "configuration": {name: values.get(name, book.variables[name].default) for name in used},
        **body,
        "extensions": [{"name": "kt", "fault": fault.name, **mine, **(about or {})}],
    }


def _steady(book: Book, fault: FaultMode, needed: set[str], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Probes for its symptoms, the surest first, that ask about what the experiment is about anyway."""
    known = needed | set(values)
    found: list[dict[str, Any]] = []
    for symptom in sorted(fault.symptoms, key=lambda each: -fault.symptoms[each]):
        for sight in book.sights:
            if symptom in sight.symptoms and known.issuperset(sight.needs):
                probe = _activity(sight.probe)
                if probe not in found and len(found) < MOST_PROBES:
                    found.append(probe)
    return found or [_activity(book.otherwise)]


def _watch() -> dict[str, Any]:
    arguments = {"prometheus_url": "${prometheus_url}", "selectors": "${alerts}", "watch_s": "${watch_s}"}
    return _activity({"ask": "verify.probes.stays_quiet", "name": "it does not come back", "with": arguments})


def _activity(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """An activity of Chaos Toolkit out of its short form."""
    short = _SHORT[given] if isinstance(given, str) else given
    kind = "action" if "do" in short else "probe"
    module, _, function = str(short["do" if kind == "action" else "ask"]).rpartition(".")
    provider = {"type": "python", "module": module, "func": function, "arguments": short["with"]}
    more = {"tolerance": short["tolerance"]} if "tolerance" in short else {}
    return {"type": kind, "name": short["name"], **more, "provider": provider}


def _variables(part: object) -> Iterator[str]:
    yield from _VARIABLE.findall(json.dumps(part))


def _read(name: str, shape: Any) -> Any:
    try:
        return msgspec.yaml.decode(resources.files("verify").joinpath("knowledge", name).read_bytes(), type=shape)
    except msgspec.DecodeError as error:
        raise BadKnowledge(f"verify/knowledge/{name}: {error}") from error
