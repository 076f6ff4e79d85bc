"""Asks Prometheus for the minutes around an onset: series of the entities near the alerts, by queries that are data."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import yaml

from graph_schema.model import Entity
from sense.deadline import Deadline
from sense.http import client

if TYPE_CHECKING:
    from sense.metrics.series import Table

TIMEOUT_S = 5.0
MOST_SAMPLES = 360
"""Samples of a series that are asked for."""
SHORTEST_S = 1.0


class BadQueries(Exception):
    """The file of queries is wrong; the message says where and what to do."""


class RangeUnavailable(Exception):
    """Prometheus did not answer, or did not understand."""


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: str
    metric: str
    query: str
    name: str
    namespace: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    queries: tuple[Query, ...]


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Data(msgspec.Struct):
    result: list[_Series]


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


class _Values(msgspec.Struct, rename={"kind": "resultType"}):
    kind: str
    result: list[Any]


class _Now(msgspec.Struct):
    status: str
    data: _Values | None = None
    error: str = ""


def load(path: Path | None = None) -> tuple[Query, ...]:
    """The queries of a file, or the ones that come with KT. Raises `BadQueries`."""
    where = str(path) if path else "the built-in queries"
    try:
        text = path.read_text() if path else resources.files("sense").joinpath("knowledge/queries.yaml").read_text()
        content: Any = yaml.safe_load(text)
        return msgspec.convert(content, _File).queries
    except OSError as error:
        raise BadQueries(f"{where} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadQueries(f"{where} are not queries: {error}") from error


def read(
    url: str,
    queries: Collection[Query],
    entities: Collection[Entity],
    start: float,
    end: float,
    deadline: Deadline | None = None,
) -> Table:
    """The series of these entities between two times (seconds since 1970). Raises `RangeUnavailable`.

    Queries that the deadline leaves no time for are not asked.
    """
    from sense.metrics.series import series  # numpy is slow to import

    wanted = {(each.kind, each.namespace, each.name): each.id for each in entities}
    kinds = {each.kind for each in entities}
    table: Table = {}
    for query in queries:
        if query.kind not in kinds or (deadline is not None and deadline.over):
            continue
        timeout_s = deadline.left(TIMEOUT_S) if deadline else TIMEOUT_S
        for labels, samples in _ask(url, query.query, start, end, timeout_s):
            namespace = labels.get(query.namespace, "") if query.namespace else ""
            entity = wanted.get((query.kind, namespace, labels.get(query.name, "")))
            if entity is not None:
                times, values = zip(*samples, strict=True) if samples else ((), ())
                table.setdefault(entity, {})[query.metric] = series(times, values)
    return table


def instant(url: str, query: str, timeout_s: float) -> list[float]:
    """The values of all series of a query, now. Raises `RangeUnavailable`."""
    try:
        response = client().get(f"{url.rstrip('/')}/api/v1/query", params={"query": query}, timeout=timeout_s)
        answer = msgspec.json.decode(response.content, type=_Now)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        raise RangeUnavailable(f"{url}: {error}") from error
    if answer.status != "success" or answer.data is None:
        raise RangeUnavailable(f"{url}: {answer.error or response.status_code}")
    if answer.data.kind == "scalar":
        return [float(answer.data.result[1])]
    return [float(each["value"][1]) for each in answer.data.result if "value" in each]


def _ask(
    url: str, query: str, start: float, end: float, timeout_s: float
) -> Iterator[tuple[dict[str, str], list[tuple[float, float]]]]:
    step = max((end - start) / MOST_SAMPLES, SHORTEST_S)
    asked = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
    try:
        response = client().get(f"{url.rstrip('/')}/api/v1/query_range", params=asked, timeout=timeout_s)
        answer = msgspec.json.decode(response.content, type=_Answer)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        raise RangeUnavailable(f"{url}: {error}") from error
    if answer.status != "success" or answer.data is None:
        raise RangeUnavailable(f"{url}: {answer.error or response.status_code} for {query}")
    for each in answer.data.result:
        yield each.metric, [(at, float(value)) for at, value in each.values]
