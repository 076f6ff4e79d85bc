"""What alerts mean: the symptom that an alert of a known name reports, and what the reasons in labels tell.

Facts are data, one file for each technology (`sense/knowledge/alerts/*.yaml`); an alert is added there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from graph_schema.located import Located, read

EXPLICIT = 0.95
"""Confidence of a symptom that the catalogue of alerts names for this alert."""
BY_LABEL = 0.9
"""Confidence of a symptom that the value of a label tells, whatever the alert's name."""
WEAK = 0.3
"""Confidence of an alert that is known to say little about a fault."""
FOLDER = "knowledge/alerts"
REASONS = {
    "ImagePullBackOff": "image_pull", "ErrImagePull": "image_pull", "InvalidImageName": "image_pull",
    "CrashLoopBackOff": "crashlooping", "CreateContainerConfigError": "config_error", "OOMKilled": "oom_killed",
    "CreateContainerError": "config_error", "Evicted": "evicted", "Preempted": "evicted", "Unschedulable": "pending",
    "FailedScheduling": "pending", "FailedMount": "storage_error", "FailedAttachVolume": "storage_error",
    "NodeNotReady": "node_not_ready", "BackOff": "crashlooping", "Unhealthy": "not_ready",
}  # fmt: skip
"""Values of a label `reason` (of containers, pods and events), and what they tell."""
_ASIDE = re.compile(r"\(.*?\)|[<>]\s*\d+%?")


class AlertFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of alerts of one name."""

    name: str
    technology: str
    symptom: str = ""
    """Empty: it tells of no fault (Watchdog)."""
    by: dict[str, dict[str, str]] = {}
    """Label → its value → the symptom in that case."""
    confidence: float = EXPLICIT
    held_s: float = 0.0
    """How long its condition usually holds before it fires."""
    kind: str = ""
    """The kind that it speaks of where its labels name none: the only one in its namespace is meant."""
    component: str = ""
    """The component of the cluster that it speaks of when it carries no label of an entity, as absent() alerts do."""
    names: tuple[str, ...] = ()
    """What runs this technology is usually called so."""
    source: str = ""

    def read(self, labels: Mapping[str, str]) -> str:
        """The symptom that it reports with these labels."""
        for label, values in self.by.items():
            if labels.get(label) in values:
                return values[labels[label]]
        return self.symptom


class AlertBook:
    """Facts by the alert's name."""

    def __init__(self, facts: Mapping[str, AlertFact]) -> None:
        self.facts = dict(facts)

    @classmethod
    def load(cls, folder: Path | None = None, *, symptoms: Collection[str] | None = None) -> AlertBook:
        """The facts of a folder, or those that come with KT; with `symptoms`, only these may be named.

        Raises `BadKnowledge` with file and line.
        """
        if folder is not None:
            return cls(_facts([read(file) for file in sorted(folder.glob("*.yaml"))], symptoms))
        with resources.as_file(resources.files("sense").joinpath(FOLDER)) as built_in:
            files = [read(file, f"sense/{FOLDER}/{file.name}") for file in sorted(built_in.glob("*.yaml"))]
        return cls(_facts(files, symptoms))

    def get(self, name: str) -> AlertFact | None:
        return self.facts.get(plain(name))


def plain(name: str) -> str:
    """An alert's name without what some collections add in brackets: `RedisDown(v1)` is `RedisDown`."""
    return _ASIDE.sub("", name).strip()


def _facts(files: Collection[Located], symptoms: Collection[str] | None) -> dict[str, AlertFact]:
    found: dict[str, AlertFact] = {}
    for content in files:
        parts = dict(content.items())
        for key, value in parts.items():
            if key not in ("technology", "source", "names", "component", "alerts", "symptoms", "weak", "no_fault"):
                raise value.error(f"“{key}” is not known in a file of alerts")
        if "technology" not in parts or "source" not in parts:
            raise content.error("technology and source are needed")
        common: dict[str, Any] = {
            key: parts[key].value for key in ("technology", "source", "names", "component") if key in parts
        }
        for name, fact, where in _entries(parts):
            if name in found:
                raise where.error(f"{name} is there twice")
            found[name] = _fact({**common, **fact, "name": name}, where, symptoms)
    return found


def _entries(parts: Mapping[str, Located]) -> list[tuple[str, dict[str, Any], Located]]:
    """(name, what is said of it, where) of the four ways to say it."""
    found: list[tuple[str, dict[str, Any], Located]] = []
    if "alerts" in parts:
        found += [(plain(name), part.value, part) for name, part in parts["alerts"].items()]
    for symptom, names in parts["symptoms"].items() if "symptoms" in parts else ():
        found += [(plain(str(each.value)), {"symptom": symptom}, each) for each in names.each()]
    for each in parts["weak"].each() if "weak" in parts else ():
        found.append((plain(str(each.value)), {"symptom": "unknown", "confidence": WEAK}, each))
    for each in parts["no_fault"].each() if "no_fault" in parts else ():
        found.append((str(each.value), {}, each))
    return found


def _fact(given: dict[str, Any], where: Located, symptoms: Collection[str] | None) -> AlertFact:
    try:
        fact = msgspec.convert(given, AlertFact)
    except msgspec.ValidationError as error:
        raise where.error(f"{given['name']}: {error}") from error
    told = {fact.symptom, *(symptom for values in fact.by.values() for symptom in values.values())} - {""}
    for symptom in sorted(told):
        if symptoms is not None and symptom not in symptoms:
            raise where.error(f"“{symptom}” is no symptom of the schema")
    return fact
