"""The part of Prometheus' HTTP API that is asked for: plain selectors, now or over the last minutes, rules, health."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from twin.metrics import RULES, Series

if TYPE_CHECKING:
    from twin.cluster import Cluster

_SELECTOR = re.compile(r"\s*([a-zA-Z_:][\w:]*)\s*(?:\{(.*)\})?\s*", re.DOTALL)
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = {"n": "\n", "t": "\t"}


class BadQuery(Exception):
    """The query is not a plain selector."""


def create_app(cluster: Cluster) -> Starlette:
    async def query(request: Request) -> Response:
        form = await request.form() if request.method == "POST" else request.query_params
        try:
            name, tests = parse(str(form.get("query", "")))
        except BadQuery as error:
            body = {"status": "error", "errorType": "bad_data", "error": str(error)}
            return _json(400, body)
        with cluster.lock:
            at = cluster.now().timestamp()
            found = [each for each in cluster.metrics.series.get(name, []) if matches(each, tests)]
        result = [{"metric": labels | {"__name__": name}, "value": [at, repr(value)]} for labels, value in found]
        return _json(200, {"status": "success", "data": {"resultType": "vector", "result": result}})

    async def query_range(request: Request) -> Response:
        form = await request.form() if request.method == "POST" else request.query_params
        try:
            name, tests = parse(str(form.get("query", "")))
            start, end, step = (_number(form.get(part)) for part in ("start", "end", "step"))
        except BadQuery as error:
            return _json(400, {"status": "error", "errorType": "bad_data", "error": str(error)})
        with cluster.lock:
            found = cluster.metrics.history.ranges(name, start, end, step)
        result = [
            {"metric": labels | {"__name__": name}, "values": [[at, repr(value)] for at, value in samples]}
            for labels, samples in found
            if matches((labels, 0.0), tests)
        ]
        return _json(200, {"status": "success", "data": {"resultType": "matrix", "result": result}})

    async def rules(_: Request) -> Response:
        listed = [
            {
                "type": "alerting",
                "name": rule.alert,
                "query": f"{rule.series} {'<' if rule.below else '>'} {rule.threshold}",
                "duration": rule.hold_s,
                "labels": {"severity": rule.severity, "symptom": rule.symptom},
            }
            for rule in RULES
        ]
        return _json(200, {"status": "success", "data": {"groups": [{"name": "kt", "rules": listed}]}})

    async def healthy(_: Request) -> Response:
        return Response("Prometheus Server is Healthy.\n")

    return Starlette(
        routes=[
            Route("/api/v1/query", query, methods=["GET", "POST"]),
            Route("/api/v1/query_range", query_range, methods=["GET", "POST"]),
            Route("/api/v1/rules", rules),
            Route("/-/healthy", healthy),
            Route("/-/ready", healthy),
        ]
    )


def _number(text: object) -> float:
    """Seconds since 1970, or a duration in seconds (`15` or `15s`). Raises `BadQuery`."""
    try:
        return float(str(text).removesuffix("s"))
    except ValueError as error:
        raise BadQuery(f"the twin takes times and steps in seconds, not {text!r}") from error


Test = tuple[str, str, str]


def parse(text: str) -> tuple[str, list[Test]]:
    """Name and matchers of a selector. Raises `BadQuery`."""
    whole = _SELECTOR.fullmatch(text)
    if whole is None:
        raise BadQuery(f"the twin answers plain selectors only, not {text!r}")
    tests, inside, at = [], whole[2] or "", 0
    while inside[at:].strip():
        found = _MATCHER.match(inside, at)
        if found is None:
            raise BadQuery(f"not a label matcher: {inside[at:]!r}")
        value = re.sub(r"\\(.)", lambda each: _ESCAPED.get(each[1], each[1]), found[3])
        tests.append((found[1], found[2], value))
        at = found.end()
    return whole[1], tests


def matches(series: Series, tests: list[Test]) -> bool:
    for label, operator, value in tests:
        have = series[0].get(label, "")
        same = have == value if operator in ("=", "!=") else re.fullmatch(value, have) is not None
        if same == operator.startswith("!"):
            return False
    return True


def _json(status: int, content: Any) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
