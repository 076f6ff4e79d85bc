"""The alert rules that a Prometheus has, from its rules API or a file of what that answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sense.alertmanager import Alert, fingerprint

TIMEOUT_S = 10.0


class BadRules(Exception):
    """It is not what Prometheus' rules API answers, or Prometheus does not answer; the message says which and where."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    labels: dict[str, str] = {}
    group: str = ""
    query: str = ""
    held_s: float = 0.0
    healthy: bool = True
    """False when Prometheus cannot evaluate it: then it watches nothing."""
    firing: tuple[Alert, ...] = ()
    """What fires by the rule's own word."""


class _Active(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    state: str = ""
    active_at: datetime | None = None
    annotations: dict[str, str] = {}


class _Rule(msgspec.Struct):
    name: str
    type: str = "alerting"
    query: str = ""
    labels: dict[str, str] = {}
    duration: float = 0.0
    health: str = "ok"
    alerts: list[_Active] = []


class _Group(msgspec.Struct):
    name: str
    rules: list[_Rule]


class _Data(msgspec.Struct):
    groups: list[_Group]


class _Answer(msgspec.Struct):
    data: _Data
    status: str = "success"


def parse(body: bytes, where: str) -> list[AlertRule]:
    """The alerting rules in an answer of `/api/v1/rules`. Raises `BadRules`."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.ValidationError as error:
        expected = '{"status": "success", "data": {"groups": [{"name": …, "rules": […]}]}}'
        raise BadRules(f"{where}: {error}; expected is what Prometheus answers to /api/v1/rules: {expected}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRules(f"{where} is not JSON: {error}") from error
    return [
        AlertRule(
            name=rule.name, labels=rule.labels, group=group.name, query=rule.query, held_s=rule.duration,
            healthy=rule.health != "err", firing=tuple(_firing(rule)),
        )
        for group in answer.data.groups
        for rule in group.rules
        if rule.type == "alerting"
    ]  # fmt: skip


def read(path: Path) -> list[AlertRule]:
    """The alerting rules in a file of such an answer. Raises `BadRules`."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise BadRules(f"{path} cannot be read: {error.strerror or error}") from error


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


def fetch(url: str, timeout_s: float = TIMEOUT_S) -> list[AlertRule]:
    """Ask a Prometheus for its alerting rules. Raises `BadRules`."""
    import httpx  # slow to import: only who asks pays for it

    from sense.http import client

    where = f"{url.rstrip('/')}/api/v1/rules"
    try:
        answer = client().get(where, params={"type": "alert"}, timeout=timeout_s)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadRules(f"{where} does not answer: {error}") from error
    return parse(answer.content, where)
