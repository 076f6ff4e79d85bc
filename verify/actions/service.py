"""Disturbs a Service: it selects nothing, sends to the wrong port, or the program behind it is told to misbehave."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from verify.actions.changing import change, failed, reach
from verify.kubernetes import Api, Refused

__all__ = ["misroute", "switch_fault", "wrong_port"]


def misroute(namespace: str, name: str, selector: dict[str, str]) -> dict[str, Any]:
    """Let a Service select other pods, or none, for a while. `restore_object` takes it back."""
    return change("Service", namespace, name, {"/spec/selector": selector})


def wrong_port(namespace: str, name: str, target_port: int = 9, index: int = 0) -> dict[str, Any]:
    """Let a port of a Service (the first) lead to one where nothing listens."""
    return change("Service", namespace, name, {reach("/spec/ports", index, "targetPort"): int(target_port)})


def switch_fault(namespace: str, service: str, path: str, port: int = 80, method: str = "POST") -> dict[str, Any]:
    """Call the fault switch of a program (`/fault?errors=0.5`) through the API server; call it again to switch it off.

    For programs that have one. Reaches one pod behind the Service, as the API server picks it.
    """
    where = f"/api/v1/namespaces/{quote(namespace, safe='')}/services/{quote(service, safe='')}:{int(port)}/proxy"
    try:
        return Api().ask(method.upper(), f"{where}/{path.lstrip('/')}")
    except Refused as error:
        raise failed(str(error)) from error
