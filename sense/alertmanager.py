"""Reads Alertmanager's webhook payload, version 4. The first step after a notification is durable.

A payload is judged twice: `check` at the door, so that what can never be right is refused with a reason while somebody
is still listening, and `parse` when it is turned into signals. Both are the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

ZERO_TIME_YEAR = 1
"""Alertmanager writes Go's zero time, 0001-01-01, for an end that is not known."""


class BadPayload(Exception):
    """The body can never be taken in, however often it is sent. The message says why and what would be right."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as Alertmanager tells it; `ends_at` is None while it fires."""

    fingerprint: str
    starts_at: datetime
    ends_at: datetime | None
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


class AlertBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One notification: alerts that Alertmanager grouped."""

    group_key: str
    truncated: int
    """Alerts that were left out of the payload by Alertmanager's `max_alerts`."""
    alerts: tuple[Alert, ...]


class _RawAlert(msgspec.Struct, rename="camel"):
    starts_at: datetime
    labels: dict[str, str]
    status: str = "firing"
    ends_at: datetime | None = None
    annotations: dict[str, str] = {}
    fingerprint: str = ""


class _Raw(msgspec.Struct, rename="camel"):
    version: str
    alerts: list[_RawAlert]
    group_key: str = ""
    truncated_alerts: int = 0


_decoder = msgspec.json.Decoder(_Raw)


def parse(body: bytes) -> AlertBatch:
    """The batch in a webhook body. Raises `BadPayload`."""
    try:
        raw = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadPayload(f"not an Alertmanager webhook payload of version 4: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPayload(f"not JSON: {error}") from error
    if raw.version != "4":
        raise BadPayload(f'payload version "{raw.version}" is not known; version "4" is (Alertmanager 0.5 and later)')
    return AlertBatch(
        group_key=raw.group_key,
        truncated=max(0, raw.truncated_alerts),
        alerts=tuple(_alert(index, each) for index, each in enumerate(raw.alerts)),
    )


def standing(batches: Iterable[AlertBatch]) -> list[Alert]:
    """How each alert stands after these notifications, in whatever order they are given.

    What was told to be resolved does not fire any more. Where nothing fires any more, as in the notifications of an
    incident that is over, each alert counts as it was while it fired: then it is the incident that is asked about.
    """
    told = [alert for batch in batches for alert in batch.alerts]
    last: dict[str, Alert] = {}
    for alert in sorted(told, key=lambda each: (each.starts_at, each.ends_at is not None)):
        last[alert.fingerprint] = alert
    if all(alert.ends_at is not None for alert in last.values()):
        last |= {alert.fingerprint: alert for alert in told if alert.ends_at is None}
    return list({alert.fingerprint: last[alert.fingerprint] for alert in told}.values())


def _alert(index: int, raw: _RawAlert) -> Alert:
    if raw.status not in ("firing", "resolved"):
        raise BadPayload(f'alerts[{index}].status is "{raw.status}"; it must be "firing" or "resolved"')
    starts = _utc(raw.starts_at)
    ends = None
    if raw.status == "resolved":
        known = raw.ends_at is not None and raw.ends_at.year > ZERO_TIME_YEAR
        # A resolved alert without an end ended at the latest when this was sent; its start is the one time it carries.
        ends = _utc(raw.ends_at) if known and raw.ends_at else starts
    return Alert(
        fingerprint=raw.fingerprint or fingerprint(raw.labels),
        starts_at=starts,
        ends_at=ends,
        labels=raw.labels,
        annotations=raw.annotations,
    )


def fingerprint(labels: dict[str, str]) -> str:
    """A stable name for a set of labels, for senders that leave theirs out (16 hexadecimal digits)."""
    text = "\x00".join(f"{name}\x01{value}" for name, value in sorted(labels.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
