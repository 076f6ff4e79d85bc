"""Disturbs a Service: it selects nothing, sends to the wrong port, or the program behind it is told to misbehave."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from verify.actions.changing import change, failed, reach
from verify.kubernetes import Api, Refused, path_of

__all__ = ["misroute", "switch_fault", "wrong_port"]


def misroute(namespace: str, name: str, selector: dict[str, str]) -> dict[str, Any]:
    """Let a Service select other pods, or none, for a while. `restore_object` takes it back."""
    return change("Service", namespace, name, {"/spec/selector": selector})


def wrong_port(namespace: str, name: str, target_port: int = 9, index: int = 0) -> dict[str, Any]:
    """Let a port of a Service (the first) lead to one where nothing listens."""
    return change("Service", namespace, name, {reach("/spec/ports", index, "targetPort"): int(target_port)})


def switch_fault(
    namespace: str, pod_selector: str, path: str, port: int = 8080, method: str = "POST", pods: int = 0
) -> dict[str, Any]:
    """Call the fault switch of a program (`/fault?errors=0.5&seconds=60`) in each running pod with these labels.

    For programs that have one; called again for all of them with what means no fault, it is off. Goes through the API
    server; `port` is the container's. `pods`: only in so many, by name (0: in all). A pod that ends takes its fault
    along. What each pod said; when one cannot be asked, the others are asked all the same.
    """
    said, refused = dict[str, Any](), list[str]()
    try:
        api = Api()
        running = _running(api, namespace, pod_selector)
    except Refused as error:
        raise failed(str(error)) from error
    if not running:
        raise failed(f"no pod with {pod_selector} runs in namespace {namespace}")
    for name in running[:pods] if pods else running:
        try:
            where = f"{path_of('Pod', namespace, name)}:{int(port)}/proxy/{path.lstrip('/')}"
            said[name] = api.ask(method.upper(), where)
        except Refused as error:
            if error.status != 404 or name in _running(api, namespace, pod_selector):
                refused.append(str(error))
    if refused:
        raise failed("; ".join(refused))
    return said


def _running(api: Api, namespace: str, pod_selector: str) -> list[str]:
    listed = api.ask("GET", f"{path_of('Pod', namespace)}?labelSelector={quote(pod_selector)}")["items"]
    return sorted(
        str(each["metadata"]["name"]) for each in listed if (each.get("status") or {}).get("phase") == "Running"
    )
