"""What the twin refuses, in the words and the shape of the Kubernetes API (`Status` bodies)."""

from __future__ import annotations

from typing import Any


class TwinError(Exception):
    """Anything that the twin reports."""


_EMPTY_DETAILS = (404, 405, 415, 422)
"""Codes with which the API server sends details even when there is nothing to tell."""


class ApiError(TwinError):
    """An answer that is not a success: becomes a `Status` body with this code, reason and details."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
        }  # fmt: skip
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None or self.code in _EMPTY_DETAILS:
            status["details"] = self.details or {}
        return status | {"code": self.code}


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(name: str, group: str, plural: str) -> dict[str, Any]:
    return {"name": name} | ({"group": group} if group else {}) | {"kind": plural}


def not_found(plural: str, group: str, name: str) -> ApiError:
    message = f'{_qualified(plural, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(name, group, plural))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> ApiError:
    message = f'{_qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(name, group, plural))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(kind: str, group: str, name: str, causes: list[tuple[str, str, str]]) -> ApiError:
    """422. `causes` are (reason, field, message), as FieldValueRequired, spec.selector, Required value."""
    texts = [f"{field}: {text}" for _, field, text in causes]
    listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    full = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = ({"name": name} if name else {}) | ({"group": group} if group else {}) | {"kind": kind}
    details["causes"] = [{"reason": reason, "message": text, "field": field} for reason, field, text in causes]
    return ApiError(422, "Invalid", f'{full} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    message = f'{_qualified(plural, group)} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, _details(name, group, plural))


def gone(asked: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")
