"""What a request asks for, read from its path and query as the API server reads them."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from starlette.requests import Request

from twin import errors
from twin.kinds import BY_PATH, Kind


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A resource request taken apart. `namespace` is None for all namespaces and for what has none."""

    kind: Kind
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource: the path that is proxied."""


def read(parts: list[str]) -> Asked:
    """Raises 404 for a path that names nothing the twin serves."""
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace: str | None = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = BY_PATH.get((group, version, rest[0]))
    if kind is None or (namespace is not None and not kind.namespaced):
        raise errors.no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if name and kind.namespaced and namespace is None:
        raise errors.no_such_path()
    if subresource and subresource not in (*kind.subresources, "finalize"):
        raise errors.no_such_path()
    return Asked(kind=kind, namespace=namespace, name=name, subresource=subresource, rest="/".join(rest[3:]))


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "") in ("true", "1")


def number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def dry(request: Request, body: dict[str, Any] | None = None) -> bool:
    """Whether nothing is to be kept. Raises 422 for anything but `All`."""
    given = request.query_params.getlist("dryRun") or (body or {}).get("dryRun") or []
    if any(each != "All" for each in given):
        kind = {"POST": "Create", "PUT": "Update", "PATCH": "Patch", "DELETE": "Delete"}[request.method] + "Options"
        told = msgspec.json.encode(given).decode()
        why = ("FieldValueNotSupported", "dryRun", f'Unsupported value: {told}: supported values: "All"')
        raise errors.invalid(kind, "meta.k8s.io", "", [why])
    return bool(given)


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip()


async def body(request: Request) -> Any:
    """The JSON (or YAML) of a request; None when there is none. Raises 400 for what cannot be read."""
    raw = await request.body()
    if not raw:
        return None
    if "yaml" in media_type(request):
        return yaml.safe_load(raw)
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise errors.bad_request(f"the object provided is unrecognized (must be of type Object): {error}") from None
