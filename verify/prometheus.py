"""The one question asked of Prometheus: the value of a selector now. The twin answers it too."""

from __future__ import annotations

from typing import Any

import httpx

from verify.http import client

TIMEOUT_S = 5.0


class PrometheusUnavailable(Exception):
    """Prometheus did not answer, or did not understand."""


def instant(url: str, query: str, *, timeout_s: float = TIMEOUT_S) -> list[tuple[dict[str, str], float]]:
    """(labels, value) of each series of an instant query. Raises `PrometheusUnavailable`."""
    result = _asked(url, "query", {"query": query}, timeout_s)
    return [(series["metric"], float(series["value"][1])) for series in result]


def between(
    url: str, query: str, start: float, end: float, step: float
) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    """(labels, (time, value) pairs) of each series of a range query; times in seconds since 1970.

    Raises `PrometheusUnavailable`.
    """
    given = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
    result = _asked(url, "query_range", given, TIMEOUT_S)
    return [(series["metric"], [(float(at), float(value)) for at, value in series["values"]]) for series in result]


def _asked(url: str, what: str, given: dict[str, str], timeout_s: float) -> Any:
    try:
        response = client().get(f"{url.rstrip('/')}/api/v1/{what}", params=given, timeout=timeout_s)
        answer: Any = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise PrometheusUnavailable(f"{url}: {error}") from error
    if response.status_code != 200 or answer.get("status") != "success":
        raise PrometheusUnavailable(f"{url}: {answer.get('error', response.status_code)} for {given['query']}")
    return answer["data"]["result"]


def selector(name: str, labels: dict[str, str]) -> str:
    """`name{label="value",…}` with values escaped."""
    inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
