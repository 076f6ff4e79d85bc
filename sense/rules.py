"""The alert rules that a Prometheus has, from its rules API or a file of what that answered."""

from __future__ import annotations

import msgspec

TIMEOUT_S = 10.0


class BadRules(Exception):
    """It is not what Prometheus' rules API answers, or Prometheus does not answer; the message says which and where."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    labels: dict[str, str] = {}
    group: str = ""
    held_s: float = 0.0


class _Rule(msgspec.Struct):
    name: str
    type: str = "alerting"
    labels: dict[str, str] = {}
    duration: float = 0.0


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
        AlertRule(name=rule.name, labels=rule.labels, group=group.name, held_s=rule.duration)
        for group in answer.data.groups
        for rule in group.rules
        if rule.type == "alerting"
    ]


def fetch(url: str) -> list[AlertRule]:
    """Ask a Prometheus for its alerting rules. Raises `BadRules`."""
    import httpx  # slow to import: only who asks pays for it

    where = f"{url.rstrip('/')}/api/v1/rules"
    try:
        answer = httpx.get(where, params={"type": "alert"}, timeout=TIMEOUT_S)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadRules(f"{where} does not answer: {error}") from error
    return parse(answer.content, where)
