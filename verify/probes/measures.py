"""Probes that give one number, or one word, to hold against a tolerance of Chaos Toolkit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import httpx

from verify.kubernetes import Api, Refused
from verify.prometheus import PrometheusUnavailable, instant

__all__ = ["condition", "http_percentile", "kt_incident", "worst_value"]


def worst_value(
    prometheus_url: str, query: str, worst: str = "max", within_s: float = 0.0, limit: float | None = None
) -> float:
    """The greatest (or, `worst` min, the smallest) value of what a PromQL query gives now.

    With `within_s` and `limit` it waits so long for the value to come within the limit. Fails when there is no series:
    what is not measured is not fine. Hold it against `"tolerance": {"type": "range", "range": [0, 0.05]}`.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            values = [value for _, value in instant(prometheus_url, query) if not math.isnan(value)]
        except PrometheusUnavailable as error:
            raise _failed(str(error)) from error
        found = (min(values) if worst == "min" else max(values)) if values else None
        beyond = found is None or (limit is not None and (found < limit if worst == "min" else found > limit))
        if not beyond or time.monotonic() >= deadline:
            if found is None:
                raise _failed(f"Prometheus has no series for {query}")
            return found
        time.sleep(0.5)


def condition(kind: str, name: str, type: str, namespace: str = "", within_s: float = 0.0, status: str = "True") -> str:  # noqa: A002 - as Kubernetes calls it
    """The status of a condition of an object (True, False, Unknown), or “missing”; waits for `status` so long."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            found = Api().get(kind, namespace, name)
        except Refused as error:
            raise _failed(str(error)) from error
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        now = next((str(each["status"]) for each in conditions if each.get("type") == type), "missing")
        if now == status or time.monotonic() >= deadline:
            return now
        time.sleep(0.5)


def http_percentile(
    url: str, percentile: float = 95.0, requests: int = 50, per_second: float = 10.0, timeout_s: float = 5.0
) -> float:
    """Milliseconds within which that share of requests was answered without error (nearest rank).

    A request that fails, by its connection or with a code of 500 and more, counts as never answered: infinity.
    """
    if not (0 < percentile <= 100 and requests > 0 and per_second > 0):
        raise _failed("percentile must be in (0, 100], requests and per_second more than 0")
    took: list[float] = []
    begun = time.monotonic()
    with httpx.Client(timeout=timeout_s) as client:
        for number in range(requests):
            time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
            asked = time.monotonic()
            try:
                bad = client.get(url).status_code >= 500
            except httpx.HTTPError:
                bad = True
            took.append(math.inf if bad else (time.monotonic() - asked) * 1000)
    return sorted(took)[max(0, math.ceil(percentile / 100 * requests) - 1)]


def kt_incident(
    config: str = "", entity: str = "", phase: str = "healed", since: str = "", within_s: float = 120.0
) -> dict[str, Any]:
    """Whether KT itself saw, diagnosed and ended what the run disturbed: waits for an incident in this phase.

    `config`: KT's settings file. `entity`: a part of the summary, such as shop/cart. `since`: ISO 8601; empty: now.
    Gives `{"reached": true, "phase": …, "seconds": …, "incident": …}`; hold it against
    `{"type": "jsonpath", "path": "$.reached", "expect": [true]}`.
    """
    begun = time.monotonic()
    first = datetime.fromisoformat(since) if since else datetime.now(UTC)
    command = [sys.executable, "-c", "from kt.cli import main; main()", *(["--config", config] if config else [])]
    found: dict[str, Any] = {}
    while True:
        answer = subprocess.run(
            [*command, "incidents", "list", "--json"], capture_output=True, text=True, timeout=60, check=False
        )
        if answer.returncode:
            raise _failed(f"KT does not tell: {answer.stderr.strip()}")
        later = [each for each in json.loads(answer.stdout) if datetime.fromisoformat(each["opened_at"]) >= first]
        about = [each for each in later if entity in json.dumps(each)]
        reached = [each for each in about if each["phase"] == phase]
        found = next(iter(reached or about), {})
        took = time.monotonic() - begun
        if reached or took >= within_s:
            at = {"phase": found.get("phase", "none"), "incident": found.get("incident", found.get("id", ""))}
            return {"reached": bool(reached), "seconds": round(took, 1), **at}
        time.sleep(1.0)


def _failed(why: str) -> Exception:
    from verify.actions.changing import failed

    return failed(why)
