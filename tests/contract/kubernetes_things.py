"""Objects and answers for the contract of the Kubernetes API."""

from __future__ import annotations

from typing import Any

from tests.contract.clusters import Answer, Place

NOT_ALLOWED = "the server does not allow this method on the requested resource"
STALE = "the object has been modified; please apply your changes to the latest version and try again"


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def applied(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def web(place: Place, replicas: int = 0) -> dict[str, Any]:
    """A Deployment whose image is in no hurry to be pulled."""
    container = {"name": "shop", "image": place.images.v1, "imagePullPolicy": place.images.pull}
    return {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


def refused(answer: Answer, code: int, reason: str, message: str = "", details: Any = None) -> None:
    """The answer is a Status that says so."""
    assert (answer.code, answer.body.get("reason")) == (code, reason), answer
    kept = {key: answer.body[key] for key in ("kind", "apiVersion", "metadata", "status", "code")}
    assert kept == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    if message:
        assert answer.body["message"] == message
    if details is not None:
        assert answer.body["details"] == details
