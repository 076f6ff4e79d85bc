"""Whether people have silenced what fired: asked of Alertmanager right before acting.

What is silenced or inhibited before it is ever sent does not reach KT; this is for what an incident had already begun
with (Alertmanager's API v2, `GET /api/v2/alerts` and `GET /api/v2/silence/{id}`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from graph_schema.model import Signal
from verify.http import client

TIMEOUT_S = 5.0


class SilenceCheck:
    """`url`: where Alertmanager answers; empty: it is not asked, and nothing counts as silenced."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def held(self, signals: Iterable[Signal]) -> str:
        """Why nothing should be done: each of its alerts is silenced or inhibited, or Alertmanager does not tell. Empty
        when one of them is neither."""
        alerts = [signal for signal in signals if signal.source == "alertmanager"]
        if not self._url or not alerts:
            return ""
        try:
            told = self._told({signal.name for signal in alerts})
            states = [told.get(signal.fingerprint, {}) for signal in alerts]
            if not all(each.get("state") == "suppressed" for each in states):
                return ""
            return f"Each of its alerts is held back in Alertmanager: {self._why(states)}"
        except (httpx.HTTPError, ValueError, TypeError, AttributeError, KeyError) as error:
            return f"Alertmanager does not tell whether its alerts are silenced: {str(error) or type(error).__name__}"

    def version(self) -> str:
        """Of the Alertmanager that answers. Raises when none does."""
        return str(self._asked("status", {})["versionInfo"]["version"])

    def _told(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Fingerprint → the alert's `status`."""
        found: dict[str, dict[str, Any]] = {}
        for name in sorted(names):
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            for each in self._asked("alerts", {"filter": f'alertname="{quoted}"'}):
                found[each["fingerprint"]] = each["status"]
        return found

    def _why(self, states: Iterable[dict[str, Any]]) -> str:
        silences = sorted({each for state in states for each in state.get("silencedBy") or ()})
        words = []
        for silence in silences:
            told = self._asked(f"silence/{silence}", {})
            words.append(f"silenced by {told['createdBy']} until {told['endsAt']}: {told['comment']}")
        if any(state.get("inhibitedBy") for state in states):
            words.append("inhibited by another alert")
        return "; ".join(words) or "muted"

    def _asked(self, what: str, given: dict[str, str]) -> Any:
        response = client().get(f"{self._url}/api/v2/{what}", params=given, timeout=TIMEOUT_S)
        response.raise_for_status()
        return response.json()
