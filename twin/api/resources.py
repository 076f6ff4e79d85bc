"""The verbs on whole objects: get, create, update, patch, delete, deletecollection; each can be tried dry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from twin import errors
from twin.api import applying, asked, defaults, patching, validation
from twin.api.asked import Asked
from twin.api.backend import Backend
from twin.api.deletion import delete
from twin.api.watching import list_page, wanted
from twin.objects import Object, clone

Answer = tuple[int, dict[str, Any]]


def find(backend: Backend, what: Asked) -> Object:
    return backend.store.get(what.kind.kind, what.name, what.namespace or "")


def create(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    given = _object(what, body)
    _named(what, given, fresh=True)
    if "status" in what.kind.subresources and what.kind.kind not in ("Node", "PersistentVolume", "Namespace"):
        given.pop("status", None)
    defaults.fill(backend.store, what.kind.kind, given)
    validation.check(what.kind, given)
    if asked.dry(request):
        return 201, backend.store.prepare(what.kind, given)
    return 201, backend.store.create(what.kind.kind, given)


def update(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    given = _object(what, body)
    _named(what, given, fresh=False)
    return 200, write(backend, what, find(backend, what), given, dry=asked.dry(request))


def patch(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    if asked.media_type(request) == patching.APPLY_PATCH:
        return _apply(backend, request, what, body)
    before = find(backend, what)
    dry = asked.dry(request)
    after = patching.apply(asked.media_type(request), before, body)
    _named(what, after, fresh=False)
    return 200, write(backend, what, before, after, dry=dry)


def _apply(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    """Server-side apply: makes the object when it is not there."""
    manager, dry = request.query_params.get("fieldManager", ""), asked.dry(request)
    if not manager:
        why = ("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
        raise errors.invalid("PatchOptions", "meta.k8s.io", "", [why])
    if not isinstance(body, dict) or not body.get("kind") or not body.get("apiVersion"):
        raise errors.bad_request("invalid object type: /, Kind=")
    given = _object(what, body)
    _named(what, given, fresh=False)
    if given["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    before = backend.store.find(what.kind.kind, what.name, what.namespace or "")
    after = applying.apply(before, given, manager, force=asked.flag(request, "force"), now=backend.now())
    if before is not None:
        return 200, write(backend, what, before, after, dry=dry)
    defaults.fill(backend.store, what.kind.kind, after)
    validation.check(what.kind, after)
    make = backend.store.prepare if dry else lambda kind, made: backend.store.create(kind.kind, made)
    return 201, make(what.kind, after)


def write(backend: Backend, what: Asked, before: Object, given: Object, *, dry: bool) -> Object:
    """Store a change of the whole object, or of its status alone when that was asked for."""
    kind, store = what.kind, backend.store
    if what.subresource == "status":
        draft = clone(before)
        draft["metadata"]["resourceVersion"] = given["metadata"].get("resourceVersion")
        draft["status"] = given.get("status") or {}
    else:
        draft = clone(given)
        if "status" in kind.subresources and (status := before.get("status")) is not None:
            draft["status"] = clone(status)
        if draft["metadata"].get("managedFields") == before["metadata"].get("managedFields"):
            applying.written_by_others(before, draft)
        defaults.fill(store, kind.kind, draft)
        validation.check(kind, draft, before)
    return store.merged(kind.kind, before, draft) if dry else store.update(kind.kind, draft)


def remove(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    options = _delete_options(request, body)
    given = find(backend, what)
    if asked.dry(request, options):
        return 200, given if what.kind.returns_deleted else _success(what, given)
    given, gone = delete(backend.store, what.kind, given, options)
    return 200, given if what.kind.returns_deleted or not gone else _success(what, given)


def remove_all(backend: Backend, request: Request, what: Asked, body: Any) -> Answer:
    options = _delete_options(request, body)
    test: Callable[[Object], bool] = wanted(request, what)
    page = list_page(backend, request, what)
    if not asked.dry(request, options):
        for each in [each for each in backend.store.all(what.kind.kind, what.namespace) if test(each)]:
            delete(backend.store, what.kind, each, options)
    return 200, page


def _object(what: Asked, body: Any) -> Object:
    """The body as an object of the kind that the path names. Raises 400."""
    if not isinstance(body, dict):
        raise errors.bad_request("the object provided is unrecognized (must be of type Object)")
    kind, version = body.get("kind"), body.get("apiVersion")
    if (kind and kind != what.kind.kind) or (version and version != what.kind.api_version):
        raise errors.bad_request(
            f"{kind} in version {version!r} cannot be handled as a {what.kind.kind}: "
            f"the API version in the data ({version}) does not match the expected API version ({what.kind.api_version})"
        )
    given: Object = clone(body)
    if not isinstance(given.setdefault("metadata", {}), dict):
        raise errors.bad_request("metadata is not an object")
    return given


def _named(what: Asked, given: Object, *, fresh: bool) -> None:
    """Name and namespace of the body must be those of the path. Raises 400."""
    meta = given.setdefault("metadata", {})
    if what.kind.namespaced:
        if what.namespace is None:
            raise errors.bad_request("the server does not allow this method on the requested resource")
        if meta.setdefault("namespace", what.namespace) != what.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
    if not fresh and meta.setdefault("name", what.name) != what.name:
        message = f"the name of the object ({meta['name']}) does not match the name on the URL ({what.name})"
        raise errors.bad_request(message)


def _delete_options(request: Request, body: Any) -> dict[str, Any]:
    options = dict(body) if isinstance(body, dict) else {}
    grace = asked.number(request, "gracePeriodSeconds")
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    if policy := request.query_params.get("propagationPolicy"):
        options["propagationPolicy"] = policy
    return options


def _success(what: Asked, given: Object) -> dict[str, Any]:
    details: dict[str, Any] = {"name": given["metadata"]["name"]}
    if what.kind.group:
        details["group"] = what.kind.group
    details |= {"kind": what.kind.plural, "uid": given["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
