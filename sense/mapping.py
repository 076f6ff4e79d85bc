"""From alerts to signals: which entity an alert speaks of, and which symptom it reports.

Rules are data (`sense/knowledge/labels.yaml`, replaced by the file in `sense.label_mapping`); what alerts of known
names mean is in `sense/knowledge/alerts`. Nothing is dropped: an alert that maps to no known entity becomes a signal on
an `Unmapped` entity, which the operator sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from graph_schema.model import Entity, Signal, entity_id
from sense.alertmanager import Alert
from sense.alerts import BY_LABEL, REASONS, AlertBook, AlertFact

Lookup = Callable[[str, str, str], Entity | None]
"""(kind, namespace, name or address) → the entity in the graph now, if there is exactly such a one.

An empty kind stands for any kind (the workload of that name before its Service before the rest), an empty namespace for
any namespace, an empty name for the only one of its kind."""

BY_WORDS = 0.7
"""Confidence of a symptom read out of an alert's name."""
BY_GUESS = 0.3
"""Confidence when neither label nor name tells the symptom."""
URGENT, CALM = 1.2, 0.8
"""Factors on a guess by severity: what somebody made critical is seldom about nothing."""
INDIRECT = 0.8
"""Factor on the confidence when the entity was found by its name only, not by a label that says what it is."""


class BadMapping(Exception):
    """The label mapping file is wrong; the message says where and what to do."""


class EntityRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to find the entity: the label with its name (or its address) and the label with its namespace."""

    kind: str
    name: str = ""
    address: str = ""
    namespace: str = ""
    not_from: frozenset[str] = frozenset()
    """Jobs whose label of this name is the exporter's own; `exporters` stands for the file's list of that name."""


class SymptomRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pattern: str
    symptom: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    entities: tuple[EntityRule, ...]
    symptoms: tuple[SymptomRule, ...]
    exporters: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    symptom_label: str = "symptom"
    not_names: frozenset[str] = frozenset()
    """Labels whose value is never the name of an entity."""


class Meaning(NamedTuple):
    """What an alert reports, how sure that is, and what says so: label, explicit, words, guess."""

    symptom: str
    confidence: float
    told_by: str


class LabelMapping:
    """The rules, ready to use."""

    def __init__(self, rules: _File, book: AlertBook) -> None:
        self._rules, self.book = rules, book
        self._patterns = [(re.compile(rule.pattern, re.IGNORECASE), rule.symptom) for rule in rules.symptoms]

    @classmethod
    def load(cls, path: Path | None = None, book: AlertBook | None = None) -> LabelMapping:
        """The rules of a file, or the ones that come with KT. Raises `BadMapping`."""
        where = str(path) if path else "the built-in label mapping"
        try:
            text = path.read_text() if path else resources.files("sense").joinpath("knowledge/labels.yaml").read_text()
            content: Any = yaml.safe_load(text)
            return cls(msgspec.convert(content, _File), book or AlertBook.load())
        except OSError as error:
            raise BadMapping(f"{where} cannot be read: {error.strerror or error}") from error
        except (yaml.YAMLError, msgspec.ValidationError, re.error) as error:
            raise BadMapping(f"{where}: {error}") from error

    @property
    def symptoms(self) -> frozenset[str]:
        """Every symptom that a rule can give."""
        return frozenset(rule.symptom for rule in self._rules.symptoms)

    def signals(self, alerts: Iterable[Alert], lookup: Lookup) -> list[Signal]:
        """One signal for each alert but the ones that tell of no fault (Watchdog)."""
        return [self._signal(alert, lookup) for alert in alerts if not self._no_fault(alert.name)]

    def meaning(self, name: str, labels: dict[str, str]) -> Meaning:
        """The symptom that an alert of this name and these labels reports."""
        outright = labels.get(self._rules.symptom_label, "")
        if outright:
            return Meaning(outright, 1.0, "label")
        fact = self.book.get(name)
        if fact is not None:
            return Meaning(fact.read(labels), fact.confidence, "explicit")
        if labels.get("reason") in REASONS:
            return Meaning(REASONS[labels["reason"]], BY_LABEL, "label")
        for pattern, symptom in self._patterns:
            if pattern.search(name):
                return Meaning(symptom, BY_WORDS, "words")
        severity = labels.get("severity", "").lower()
        factor = URGENT if severity in ("critical", "page", "error") else CALM if severity in ("info", "none") else 1.0
        return Meaning("unknown", BY_GUESS * factor, "guess")

    def _no_fault(self, name: str) -> bool:
        fact = self.book.get(name)
        return name in self._rules.ignored or (fact is not None and not fact.symptom and not fact.by)

    def _signal(self, alert: Alert, lookup: Lookup) -> Signal:
        fact = self.book.get(alert.name)
        entity, sure = self._entity(alert, fact, lookup)
        meaning = self.meaning(alert.name, alert.labels)
        return Signal(
            fingerprint=alert.fingerprint,
            entity=entity.id if entity else unmapped_id(alert),
            symptom=meaning.symptom,
            name=alert.name or "unnamed alert",
            starts_at=alert.starts_at,
            ends_at=alert.ends_at,
            severity=alert.labels.get("severity", ""),
            labels=alert.labels,
            annotations=alert.annotations,
            confidence=round(meaning.confidence * sure, 4),
            held_s=fact.held_s if fact else 0.0,
            mapped=entity is not None,
        )

    def _entity(self, alert: Alert, fact: AlertFact | None, lookup: Lookup) -> tuple[Entity | None, float]:
        """(the entity that the alert speaks of, factor on the confidence)."""
        namespace = alert.labels.get("namespace", "")
        if fact is not None and fact.component and (found := lookup(fact.component, "", "")) is not None:
            return found, 1.0
        about_cluster = fact is not None and fact.component and not _names_node(alert.labels)
        for kind, space, name in () if about_cluster else self._candidates(alert.labels):
            found = lookup(kind, space, name)
            if found is not None and not (fact and fact.kind and found.kind == "Namespace"):
                return found, 1.0
        if fact is not None and fact.kind and (found := lookup(fact.kind, namespace, "")) is not None:
            return found, 1.0
        for name in fact.names if fact else ():
            if (found := lookup("", namespace, name)) is not None:
                return found, INDIRECT
        if not about_cluster:
            for name in self._possible_names(alert):
                if (found := lookup("", namespace, name)) is not None:
                    return found, INDIRECT
        if namespace and not about_cluster and (found := lookup("Namespace", "", namespace)) is not None:
            return found, 1.0
        if about_cluster and (found := lookup("Cluster", "", "")) is not None:
            return found, 1.0
        return None, 1.0

    def _candidates(self, labels: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        """(kind, namespace, name or address) in the order of the rules."""
        for rule in self._rules.entities:
            value = labels.get(rule.name or rule.address, "")
            namespace = labels.get(rule.namespace, "") if rule.namespace and rule.kind != "Namespace" else ""
            if not value or self._names_exporter(rule, value, labels.get("job", "")):
                continue
            if rule.address:
                value = value.rsplit(":", 1)[0].strip("[]")
            elif rule.kind == "Service" and ".svc" in value:
                # cart.shop.svc.cluster.local
                value, _, rest = value.partition(".")
                namespace = namespace or rest.partition(".")[0]
            yield rule.kind, namespace, value

    def _names_exporter(self, rule: EntityRule, value: str, job: str) -> bool:
        """Whether the label names what looked: it does when its value is an exporter's, or its job is one of those."""
        if "exporters" in rule.not_from and rule.name != "job":
            known = any(value == each or value.endswith(f"-{each}") for each in self._rules.exporters)
            return known or (value == job and self._exporter(job)) or value.endswith(("-exporter", "_exporter"))
        return job in rule.not_from or ("exporters" in rule.not_from and self._exporter(job))

    def _exporter(self, job: str) -> bool:
        return job in self._rules.exporters or job.endswith(("-exporter", "_exporter"))

    def _possible_names(self, alert: Alert) -> Iterator[str]:
        """What may be an entity's name: other labels' values, the exporter's name less its end, the alert's words."""
        for label, value in sorted(alert.labels.items()):
            if label in self._rules.not_names or not value:
                continue
            if label in ("job", "service", "instance", "pod", "container"):
                bare = re.sub(r"[-_](exporter|metrics|headless|svc)$", "", value.rsplit(":", 1)[0].partition(".")[0])
                if label in ("job", "service", "instance") and bare not in self._rules.exporters:
                    yield bare
                continue
            yield value
        words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", alert.name)]
        for length in (3, 2, 1):
            for start in range(len(words) - length + 1):
                name = "-".join(words[start : start + length])
                if length > 1 or (len(name) > 3 and name not in COMMON_WORDS):
                    yield name


COMMON_WORDS = frozenset({
    "kube", "kubernetes", "node", "host", "service", "error", "errors", "high", "latency", "rate", "down",
    "alert", "pod", "container", "cluster", "slow", "request", "requests", "job", "queue", "cache", "database",
    "memory", "disk", "network", "failed", "failure", "traffic", "cpu", "usage", "limit", "ratio",
})  # fmt: skip
"""Words of alert names that are no names of things, although things may be called so."""


def _names_node(labels: dict[str, str]) -> bool:
    return "node" in labels or "instance" in labels


def unmapped_id(alert: Alert) -> str:
    """The stand-in for an entity nobody knows: one for each namespace (or cluster) and alert name."""
    return entity_id("Unmapped", alert.name or alert.fingerprint, alert.labels.get("namespace", ""))
