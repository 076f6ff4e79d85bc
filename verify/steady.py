"""Whether the symptoms are gone: what fired is asked of Prometheus, not of memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from graph_schema.model import Signal
from verify.prometheus import PrometheusUnavailable, instant, selector

ABOUT = ("namespace", "service", "pod", "deployment", "statefulset", "daemonset", "node", "instance")
"""Labels by which an alert is found again; others may have been added on the way."""


def alert_selector(signal: Signal) -> str:
    """The series that Prometheus keeps of a firing alert."""
    about = {key: value for key, value in signal.labels.items() if key in ABOUT}
    return selector("ALERTS", {"alertname": signal.name, "alertstate": "firing", **about})


def watched(
    signals: Iterable[Signal], steady_state: Iterable[str], cause: str, within: Collection[str] | None = None
) -> list[Signal]:
    """The signals that must end for the fix to count. `cause`: the entity that was diagnosed; `within`: the namespaces
    in which the remedy acts, for one that acts in some and leaves others as they are."""
    states = set(steady_state)
    if "symptoms-gone" in states:
        return list(signals)
    if "dependants-gone" not in states:
        return []
    return [
        signal
        for signal in signals
        if signal.entity != cause and (within is None or namespace_of(signal.entity) in ("", *within))
    ]


def namespace_of(entity: str) -> str:
    """`shop` of `Pod/shop/cart-1`; empty for what stands in none, such as `Node/kt-node-1`."""
    parts = entity.split("/")
    return parts[1] if len(parts) == 3 else ""


class SymptomCheck:
    def __init__(self, prometheus_url: str) -> None:
        self._url = prometheus_url

    def still_firing(self, signals: Iterable[Signal]) -> list[str]:
        """In words, the signals whose alert Prometheus still has; one that it cannot tell of counts as firing."""
        found: list[str] = []
        for signal in signals:
            try:
                if instant(self._url, alert_selector(signal)):
                    found.append(f"{signal.name} on {signal.entity} still fires")
            except PrometheusUnavailable as error:
                return [f"Prometheus does not tell: {error}"]
        return found
