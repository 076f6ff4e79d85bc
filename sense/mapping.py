"""From alerts to signals: which entity an alert speaks of, and which symptom it reports.

Rules are data (`sense/knowledge/labels.yaml`, replaced by the file in `sense.label_mapping`). Nothing is dropped: an
alert that maps to no known entity becomes a signal on an `Unmapped` entity, which the operator sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from graph_schema.model import Entity, Signal, entity_id
from sense.alertmanager import Alert

Lookup = Callable[[str, str, str], Entity | None]
"""(kind, namespace, name or address) → the entity in the graph now, if there is exactly such a one."""

BY_WORDS = 0.7
"""Confidence of a symptom read out of an alert's name."""
BY_GUESS = 0.3
"""Confidence when neither label nor name tells the symptom."""


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


class LabelMapping:
    """The rules, ready to use."""

    def __init__(self, rules: _File) -> None:
        self._rules = rules
        self._patterns = [(re.compile(rule.pattern, re.IGNORECASE), rule.symptom) for rule in rules.symptoms]

    @classmethod
    def load(cls, path: Path | None = None) -> LabelMapping:
        """The rules of a file, or the ones that come with KT. Raises `BadMapping`."""
        where = str(path) if path else "the built-in label mapping"
        try:
            text = path.read_text() if path else resources.files("sense").joinpath("knowledge/labels.yaml").read_text()
            content: Any = yaml.safe_load(text)
            return cls(msgspec.convert(content, _File))
        except OSError as error:
            raise BadMapping(f"{where} cannot be read: {error.strerror or error}") from error
        except (yaml.YAMLError, msgspec.ValidationError, re.error) as error:
            raise BadMapping(f"{where} is not a label mapping: {error}") from error

    @property
    def symptoms(self) -> frozenset[str]:
        """Every symptom that a rule can give."""
        return frozenset(rule.symptom for rule in self._rules.symptoms)

    def kinds(self, words: Collection[str]) -> frozenset[str]:
        """The kinds of entity that labels of these names speak of."""
        return frozenset(rule.kind for rule in self._rules.entities if (rule.name or rule.address) in words)

    def signals(self, alerts: Iterable[Alert], lookup: Lookup) -> list[Signal]:
        """One signal for each alert but the ones that tell of no fault (Watchdog)."""
        return [self._signal(alert, lookup) for alert in alerts if alert.name not in self._rules.ignored]

    def _signal(self, alert: Alert, lookup: Lookup) -> Signal:
        entity = self._entity(alert.labels, lookup)
        symptom, confidence = self._symptom(alert)
        return Signal(
            fingerprint=alert.fingerprint,
            entity=entity.id if entity else unmapped_id(alert),
            symptom=symptom,
            name=alert.name or "unnamed alert",
            starts_at=alert.starts_at,
            ends_at=alert.ends_at,
            severity=alert.labels.get("severity", ""),
            labels=alert.labels,
            annotations=alert.annotations,
            confidence=confidence,
            mapped=entity is not None,
        )

    def _entity(self, labels: dict[str, str], lookup: Lookup) -> Entity | None:
        for kind, namespace, name in self._candidates(labels):
            found = lookup(kind, namespace, name)
            if found is not None:
                return found
        return None

    def _candidates(self, labels: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        """(kind, namespace, name or address) in the order of the rules."""
        for rule in self._rules.entities:
            value = labels.get(rule.name or rule.address, "")
            namespace = labels.get(rule.namespace, "") if rule.namespace and rule.kind != "Namespace" else ""
            lacks_namespace = bool(rule.namespace) and not namespace
            if not value or lacks_namespace or self._names_exporter(rule, labels.get("job", "")):
                continue
            yield rule.kind, namespace, value.rsplit(":", 1)[0] if rule.address else value

    def _names_exporter(self, rule: EntityRule, job: str) -> bool:
        return job in rule.not_from or ("exporters" in rule.not_from and job in self._rules.exporters)

    def _symptom(self, alert: Alert) -> tuple[str, float]:
        outright = alert.labels.get(self._rules.symptom_label, "")
        if outright:
            return outright, 1.0
        for pattern, symptom in self._patterns:
            if pattern.search(alert.name):
                return symptom, BY_WORDS
        return "unknown", BY_GUESS


def unmapped_id(alert: Alert) -> str:
    """The stand-in for an entity nobody knows: one for each namespace (or cluster) and alert name."""
    return entity_id("Unmapped", alert.name or alert.fingerprint, alert.labels.get("namespace", ""))
