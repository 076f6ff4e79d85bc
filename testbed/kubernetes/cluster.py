"""What the parts of the cluster agree on: names, addresses, folders, the file that each uses to speak to the API."""

import base64
import json
import secrets
import ssl
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml

from testbed import places, server
from testbed.errors import TestbedError

SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16"
BRIDGE = "kt-hosts"


class Node(msgspec.Struct, frozen=True):
    """One node: everything of it is its own, but the kernel."""

    index: int

    @property
    def name(self) -> str:
        return f"kt-node-{self.index}"

    @property
    def address(self) -> str:
        return f"10.200.0.{self.index}"

    @property
    def pods(self) -> str:
        return f"10.244.{self.index}.0/24"

    @property
    def bridge(self) -> str:
        return f"kt-pods-{self.index}"

    @property
    def folder(self) -> Path:
        return folder() / self.name

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def cgroup(self) -> str:
        return f"kt-testbed/{self.name}"


NODES = (Node(1), Node(2))
API_ADDRESS = NODES[0].address

# Who may speak to the API server, and as what. RBAC knows these groups and names already, but `kt`: that one may do
# nothing until a test grants it the rights that KT says it needs.
USERS = {
    "admin": ("kt-testbed", "system:masters"),
    "kt": ("kt", ""),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    **{node.name: (f"system:node:{node.name}", "system:nodes") for node in NODES},
}


def folder() -> Path:
    """The cluster's part of the state folder."""
    return places.state() / "kubernetes"


def port(name: str) -> int:
    """A port of the running cluster."""
    return server.load("kubernetes").ports[name]


def kubeconfig(user: str) -> Path:
    """The kubeconfig of one user."""
    return folder() / f"{user}.kubeconfig"


def write_tokens() -> Path:
    """A fresh token for each user, in the API server's own format; kept for the kubeconfigs."""
    lines = []
    for index, (user, (name, group)) in enumerate(USERS.items()):
        token = secrets.token_urlsafe(24)
        (folder() / f"{user}.token").write_text(token)
        lines.append(",".join([token, name, str(index)] + ([group] if group else [])))
    path = folder() / "tokens.csv"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def write_kubeconfigs(api_port: int, authority: Path) -> None:
    """A kubeconfig for each user (JSON is YAML); `authority`: who signed the API server's certificate (PEM)."""
    trusted = base64.b64encode(authority.read_bytes()).decode()
    for user in USERS:
        token = (folder() / f"{user}.token").read_text()
        where = {"server": f"https://{API_ADDRESS}:{api_port}", "certificate-authority-data": trusted}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "kt", "cluster": where}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "kt", "context": {"cluster": "kt", "user": user}}],
            "current-context": "kt",
        }
        path = kubeconfig(user)
        path.write_text(json.dumps(config))
        path.chmod(0o600)


class Api:
    """A few calls on the API server of a kubeconfig, as plain JSON."""

    def __init__(self, config: Path) -> None:
        data = yaml.safe_load(config.read_text())
        where, user = data["clusters"][0]["cluster"], data["users"][0]["user"]
        authority = base64.b64decode(where["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        headers = {"Authorization": f"Bearer {user['token']}"}
        self.client = httpx.Client(base_url=where["server"], headers=headers, verify=context, timeout=30)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str, **query: str) -> Any:
        """The decoded answer; TestbedError with the server's message on an error code."""
        return self._answer(self.client.get(path, params=query))

    def create(self, path: str, thing: dict[str, Any]) -> Any:
        """Make an object that is not there yet, with the status given where its kind has one from the beginning."""
        return self._answer(self.client.post(path, json=thing))

    def apply(self, path: str, thing: dict[str, Any]) -> Any:
        """Server-side apply: the object becomes what is given, whatever it was."""
        response = self.client.patch(
            path,
            params={"fieldManager": "testbed", "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(thing),
        )
        return self._answer(response)

    def patch(self, path: str, change: Any, kind: str = "strategic-merge-patch") -> Any:
        """A patch of the kind given: strategic-merge-patch, merge-patch or json-patch."""
        headers = {"Content-Type": f"application/{kind}+json"}
        return self._answer(self.client.patch(path, headers=headers, content=json.dumps(change)))

    def delete(self, path: str, *, grace: int | None = None) -> None:
        """Delete an object or a collection; what is not there is no error."""
        response = self.client.delete(path, params={} if grace is None else {"gracePeriodSeconds": str(grace)})
        if response.status_code != 404:
            self._answer(response)

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        if response.is_error:
            request = response.request
            raise TestbedError(f"{request.method} {request.url.path}: {response.status_code} {response.text[:500]}")
        return response.json()
