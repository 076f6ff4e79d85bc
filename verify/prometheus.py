"""The one question asked of Prometheus: the value of a selector now. The twin answers it too."""

from __future__ import annotations

from typing import Any

import httpx

TIMEOUT_S = 5.0


class PrometheusUnavailable(Exception):
    """Prometheus did not answer, or did not understand."""


def instant(url: str, query: str, *, timeout_s: float = TIMEOUT_S) -> list[tuple[dict[str, str], float]]:
    """(labels, value) of each series of an instant query. Raises `PrometheusUnavailable`."""
    try:
        response = httpx.get(f"{url.rstrip('/')}/api/v1/query", params={"query": query}, timeout=timeout_s)
        answer: Any = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise PrometheusUnavailable(f"{url}: {error}") from error
    if response.status_code != 200 or answer.get("status") != "success":
        raise PrometheusUnavailable(f"{url}: {answer.get('error', response.status_code)} for {query}")
    return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]


def selector(name: str, labels: dict[str, str]) -> str:
    """`name{label="value",…}` with values escaped."""
    inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
