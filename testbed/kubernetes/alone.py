"""An etcd and an API server of their own, without nodes, for tests and benches that write what nodes would write.

They are on the loopback address and in a folder of their own, so that they run beside a whole cluster; nothing moves in
them but what their caller moves, or the controllers and the scheduler if they are asked for. The audit log tells who
did what, and of Deployments and of pods that KT changed what they were made into.
"""

import base64
import json
import secrets
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from testbed import places, processes, server
from testbed.kubernetes import audit, build

ADDRESS = "127.0.0.1"
ETCD, APISERVER = "alone-etcd", "alone-kube-apiserver"
CONTROLLERS, SCHEDULER = "alone-kube-controller-manager", "alone-kube-scheduler"
KWOK = "alone-kwok"
USERS = {
    **dict.fromkeys(("admin", "descheduler", "controllers", "scheduler", "kubelets", "kwok"), "system:masters"),
    "kt": "",
}
"""User → group; `kt` may do nothing until RBAC lets it."""
_SWITCHED_OFF = "ServiceAccount,TaintNodesByCondition"
"""Admission that waits for controllers: one makes each namespace's account, one takes the taint of a new node away."""


class ControlPlane:
    """What runs: a kubeconfig for each user, and the audit log."""

    def __init__(self, folder: Path, etcd: str) -> None:
        self.folder = folder
        self.audit = folder / "audit.log"
        self.etcd = httpx.Client(base_url=etcd, timeout=30)

    def kubeconfig(self, user: str) -> Path:
        return self.folder / f"{user}.kubeconfig"

    def created(self, space: str, name: str, at: str) -> None:
        """Make a pod as old as it is to be: that is the one field that the API server lets nobody write."""
        key = _text(f"/registry/pods/{space}/{name}")
        (kept,) = self._etcd("range", {"key": key})["kvs"]
        pod = json.loads(base64.b64decode(kept["value"]))
        pod["metadata"]["creationTimestamp"] = at
        self._etcd("put", {"key": key, "value": _text(json.dumps(pod))})

    def _etcd(self, what: str, request: dict[str, str]) -> Any:
        return self.etcd.post(f"/v3/kv/{what}", json=request).raise_for_status().json()


def _text(plain: str) -> str:
    return base64.b64encode(plain.encode()).decode()


@contextmanager
def running(*, controllers: bool = False) -> Iterator[ControlPlane]:
    """Start both and end them; Missing where this machine cannot have them. After a kill `testbed down` ends them.

    `controllers`: also the controllers, which make the pods of workloads, and the scheduler. Nodes and what kubelets
    would write are the caller's (`testbed.kubernetes.kwok`, or `.kubelets`)."""
    server.require_commands("an API server", "etcd", "openssl")
    folder = places.state() / "alone"
    _end(folder)
    folder.mkdir(parents=True)
    try:
        binaries = build.binaries()
        etcd, peer, api = processes.free_ports(3)
        processes.start(ETCD, _etcd(folder, etcd, peer))
        tokens = _tokens(folder)
        processes.start(APISERVER, _apiserver(binaries, folder, etcd, api))
        certificate = folder / "certificates" / "apiserver.crt"
        url = f"https://{ADDRESS}:{api}"
        processes.wait("the API server", lambda: _ready(url, certificate, tokens["admin"]), seconds=120, of=APISERVER)
        plane = ControlPlane(folder, f"http://{ADDRESS}:{etcd}")
        for user, token in tokens.items():
            _write_kubeconfig(plane.kubeconfig(user), url, certificate, user, token)
        if controllers:
            processes.start(CONTROLLERS, _controllers(binaries, plane))
            processes.start(SCHEDULER, _scheduler(binaries, plane, processes.free_ports(1)[0]))
        yield plane
    finally:
        _end(folder)


def _end(folder: Path) -> None:
    for name in (KWOK, SCHEDULER, CONTROLLERS, APISERVER, ETCD):
        processes.stop(name, kill=True)  # what it would save in peace is removed below
    shutil.rmtree(folder, ignore_errors=True)


def _tokens(folder: Path) -> dict[str, str]:
    tokens = {user: secrets.token_urlsafe(24) for user in USERS}
    lines = [",".join(filter(None, (token, user, user, USERS[user]))) for user, token in tokens.items()]
    path = folder / "tokens.csv"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    return tokens


def _ready(url: str, certificate: Path, token: str) -> bool:
    try:
        context = ssl.create_default_context(cafile=str(certificate))
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{url}/readyz", verify=context, headers=headers, timeout=2).status_code == 200
    except (OSError, httpx.HTTPError):
        return False


def _write_kubeconfig(path: Path, url: str, certificate: Path, user: str, token: str) -> None:
    trusted = base64.b64encode(certificate.read_bytes()).decode()
    path.touch(mode=0o600)
    path.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "alone",
            "clusters": [{"name": "alone", "cluster": {"server": url, "certificate-authority-data": trusted}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "alone", "context": {"cluster": "alone", "user": user}}],
        })
    )  # fmt: skip


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    ours, others = f"http://{ADDRESS}:{client}", f"http://{ADDRESS}:{peer}"
    return [
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={ours}",
        f"--advertise-client-urls={ours}",
        f"--listen-peer-urls={others}",
        f"--initial-advertise-peer-urls={others}",
        f"--initial-cluster=default={others}",
        "--unsafe-no-fsync",
    ]


def _apiserver(binaries: Path, folder: Path, etcd: int, api: int) -> list[str]:
    key = folder / "service-accounts.key"
    processes.run(["openssl", "genrsa", "-out", key, "2048"])
    policy = folder / "audit-policy.json"
    written = {"verbs": list(audit.WRITES), "omitStages": ["RequestReceived"]}
    deployments = [{"group": "apps", "resources": ["deployments", "deployments/status"]}]
    of_kt = [{"group": "", "resources": ["pods", "pods/eviction"]}]
    rules = [
        {"level": "RequestResponse", "resources": deployments, **written},
        {"level": "RequestResponse", "users": ["kt"], "resources": of_kt, **written},
        {"level": "Metadata", **written},
        {"level": "None"},
    ]
    policy.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers=http://{ADDRESS}:{etcd}",
        "--storage-media-type=application/json",  # so that created() can read it
        f"--bind-address={ADDRESS}",
        f"--secure-port={api}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.97.0.0/16",
        "--endpoint-reconciler-type=none",
        f"--disable-admission-plugins={_SWITCHED_OFF}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--audit-log-mode=blocking",
        # Debian's etcd cannot tell how far a watch is, as lists by watch need: newer clients (kwok, the descheduler)
        # would be refused each time and wait ever longer in between. Where there are none they list as before.
        "--feature-gates=WatchList=false",
    ]


def _controllers(binaries: Path, plane: ControlPlane) -> list[str]:
    return [
        str(binaries / "kube-controller-manager"),
        f"--kubeconfig={plane.kubeconfig('controllers')}",
        "--leader-elect=false",
        "--controllers=*,-node-lifecycle-controller",  # no kubelet renews the leases by which it tells dead nodes
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=500",
    ]


def _scheduler(binaries: Path, plane: ControlPlane, port: int) -> list[str]:
    config = plane.kubeconfig("scheduler")
    return [
        str(binaries / "kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--cert-dir={plane.folder / 'certificates-of-the-scheduler'}",
        "--leader-elect=false",
        f"--bind-address={ADDRESS}",
        f"--secure-port={port}",
        "--kube-api-qps=500",
        "--kube-api-burst=500",
    ]
