"""What Prometheus recorded while a run was on, kept with it: the charts of its report need no network later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from verify.prometheus import PrometheusUnavailable, between, selector

AROUND_S = 60.0
"""Seconds before and after that are shown, too."""
POINTS = 240
CHARTS = (
    ("kt:error_ratio", "share of failed requests"),
    ("kt:latency_p99_seconds", "latency p99, seconds"),
    ("kt:requests_per_second", "requests per second"),
)


def measured(url: str, targets: Sequence[str], started: datetime, ended: datetime) -> dict[str, Any]:
    """The series of what the run was about; none where Prometheus has none, or does not answer."""
    start, end = started.timestamp() - AROUND_S, ended.timestamp() + AROUND_S
    step = max(1.0, (end - start) / POINTS)
    charts = []
    try:
        for target in targets:
            namespace, _, service = target.partition("/")
            for name, about in CHARTS:
                query = selector(name, {"namespace": namespace, "service": service})
                series = between(url, query, start, end, step)
                if series:
                    charts.append({"service": target, "about": about, "query": query, "samples": series[0][1]})
    except PrometheusUnavailable as error:
        return {"charts": charts, "missing": str(error)}
    return {"charts": charts, "from": started.timestamp(), "to": ended.timestamp()}
