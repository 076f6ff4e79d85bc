"""Which alerts are watched for: reads what Prometheus' rules API answers (`/api/v1/rules`).

A rule that is healthy and not firing is a witness: where a cause should have made it fire, its silence speaks against
that cause. Alerts that fire by this answer are handed on like those of Alertmanager.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from graph_schema.model import Watch
from sense.alertmanager import Alert, fingerprint
from sense.files import BadFile
from sense.mapping import LabelMapping

TRAVELLING = frozenset({"errors", "latency", "unavailable"})
FACES = frozenset({"Service", "Ingress"})
"""What a rule about travelling symptoms watches when its query names no kind."""
EXPECTED = 'what /api/v1/rules answers: {"status": "success", "data": {"groups": [{"rules": […]}]}}'


class _Active(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    state: str = ""
    active_at: datetime | None = None
    annotations: dict[str, str] = {}


class _Rule(msgspec.Struct):
    name: str = ""
    type: str = "alerting"
    query: str = ""
    health: str = "ok"
    labels: dict[str, str] = {}
    alerts: list[_Active] = []


class _Group(msgspec.Struct):
    rules: list[_Rule]


class _Data(msgspec.Struct):
    groups: list[_Group]


class _Answer(msgspec.Struct):
    data: _Data
    status: str = "success"


class Rules(msgspec.Struct, frozen=True):
    firing: tuple[Alert, ...]
    silent: tuple[Watch, ...]


def read(path: Path, mapping: LabelMapping) -> Rules:
    """The rules in a file. Raises `BadFile`."""
    try:
        return parse(path.read_bytes(), mapping)
    except OSError as error:
        raise BadFile(path, None, f"cannot be read: {error.strerror or error}") from error
    except msgspec.ValidationError as error:
        raise BadFile(path, None, f"{error}; expected is {EXPECTED}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(path, None, f"not JSON: {error}; expected is {EXPECTED}") from error


def parse(body: bytes, mapping: LabelMapping) -> Rules:
    """Raises `msgspec.DecodeError` (`msgspec.ValidationError` where it is JSON, but not this)."""
    answer = msgspec.json.decode(body, type=_Answer)
    rules = [rule for group in answer.data.groups for rule in group.rules if rule.type == "alerting" and rule.name]
    firing = [alert for rule in rules for alert in _firing(rule)]
    loud = {alert.name for alert in firing}
    silent = [rule for rule in rules if rule.name not in loud and rule.health == "ok"]
    found = sorted(_watches(silent, mapping), key=lambda each: (each.name, each.symptom))
    return Rules(tuple(firing), tuple(found))


def _firing(rule: _Rule) -> Iterator[Alert]:
    for active in rule.alerts:
        if active.state != "firing" or active.active_at is None:
            continue
        labels = {"alertname": rule.name, **active.labels}
        at = active.active_at
        yield Alert(
            fingerprint=fingerprint(labels),
            starts_at=at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC),
            ends_at=None,
            labels=labels,
            annotations=active.annotations,
        )


def _watches(rules: list[_Rule], mapping: LabelMapping) -> Iterator[Watch]:
    now = datetime(1970, 1, 1, tzinfo=UTC)
    for rule in rules:
        labels = {**rule.labels, "alertname": rule.name}
        asked = Alert(fingerprint=rule.name, starts_at=now, ends_at=None, labels=labels, annotations={})
        for signal in mapping.signals([asked], lambda *_: None):
            # “kube_pod_status_ready” and “by (pod)” both speak of pods; a namespace is in nearly every query.
            words = set(re.findall(r"[a-z]+", rule.query.lower()))
            kinds = mapping.kinds(words) - {"Namespace"}
            if not kinds and signal.symptom in TRAVELLING:
                kinds = FACES
            if kinds and signal.symptom != "unknown":
                yield Watch(name=rule.name, symptom=signal.symptom, kinds=kinds, confidence=signal.confidence)
