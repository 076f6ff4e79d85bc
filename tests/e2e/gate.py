"""The twin's API behind the rights that `kt rbac` prints, held as an API server with RBAC holds them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse

from kt import rbac
from testbed.processes import free_ports
from twin.api.app import create_app
from twin.server import Twin

Right = tuple[str, str, str]
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def rights(*roles: dict[str, Any]) -> set[Right]:
    """(API group, resource, verb) of roles."""
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Gate:
    """KT may watch everywhere, change nodes, and act and verify in `namespace`. `refused` tells what else was asked."""

    def __init__(self, twin: Twin, namespace: str) -> None:
        self._app, self._namespace, self.twin = create_app(twin.cluster), namespace, twin
        act, act_nodes, _ = rbac.acting()
        self.everywhere = rights(rbac.watching()[0], act_nodes)
        self.inside = rights(act, *rbac.verifying())
        self.refused: list[str] = []
        self.used: set[Right] = set()
        self._port = free_ports(1)[0]
        config = uvicorn.Config(
            self, port=self._port, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="gate", daemon=True)
        self._thread.start()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == REVIEWS:
            body = await Request(scope, receive).json()
            await JSONResponse(self._review(body), 201)(scope, receive, send)
            return
        asked = read(scope["path"], scope["method"], scope["query_string"].decode())
        if asked is None or self._may(*asked):
            await self._app(scope, receive, send)
            return
        self.refused.append(f"{asked[1]} in “{asked[0]}”")
        status = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "forbidden", "code": 403}
        await JSONResponse(status, 403)(scope, receive, send)

    def _review(self, body: dict[str, Any]) -> dict[str, Any]:
        """What everybody may ask: whether they may do something."""
        about = body["spec"]["resourceAttributes"]
        resource = about["resource"] + (f"/{about['subresource']}" if "subresource" in about else "")
        right = (about.get("group", ""), resource, about["verb"])
        inside = about.get("namespace", "") == self._namespace and right in self.inside
        return {**body, "status": {"allowed": right in self.everywhere or inside}}

    def _may(self, namespace: str, right: Right) -> bool:
        self.used.add(right)
        return right in self.everywhere or (namespace == self._namespace and right in self.inside)

    def write_kubeconfig(self, path: Path) -> None:
        found = yaml.safe_load(self.twin.kubeconfig.read_text())
        found["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{self._port}"
        path.write_text(yaml.safe_dump(found))

    def stop(self) -> None:
        """After the twin's stop, which ends the watches."""
        self._server.should_exit = True
        self._thread.join(5)


def read(path: str, method: str, query: str) -> tuple[str, Right] | None:
    """Namespace and right that a request needs; None for what everybody may ask (which kinds there are)."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1] if len(parts) > 1 else "", parts[3:])
    if parts[0] not in ("api", "apis") or not rest:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name = rest[0], rest[1] if len(rest) > 1 else ""
    if len(rest) > 2:
        resource += f"/{rest[2]}"
    if method == "GET":
        verb = "get" if name else "watch" if parse_qs(query).get("watch", ["0"])[0] in ("1", "true") else "list"
    else:
        verb = VERBS[method] if name or method == "POST" else "deletecollection"
    return namespace, (group, resource, verb)
