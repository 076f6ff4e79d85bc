"""etcd, API server, controller manager, scheduler and kube-proxy as processes of this machine."""

from pathlib import Path

import httpx

from testbed import processes
from testbed.errors import TestbedError
from testbed.kubernetes import audit, certificates, cluster

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
PORTS = ("api", "etcd", "etcd-peer", "scheduler", "proxy-health", "proxy-metrics")
NODE_GRACE = "8s"
"""A node that is silent for so long is NotReady; the kubelets report every 2 s."""


def start(binaries: Path, ports: dict[str, int]) -> None:
    """Start what does not run, in order, each waiting for the one before."""
    folder, authority = cluster.folder(), certificates.ensure().authority
    parts = dict(zip(PARTS, (_etcd, _apiserver, _controller_manager, _scheduler, _proxy), strict=True))

    def ensure(name: str) -> None:
        # What a running one was configured with is not written again: kube-proxy ends when its file is touched.
        if processes.find(name) is None:
            processes.start(name, parts[name](binaries, ports, folder))

    for name in PARTS[:2]:
        ensure(name)
    api = f"https://{cluster.API_ADDRESS}:{ports['api']}/readyz"
    processes.wait("the API server", lambda: _ready(api, authority), seconds=90, of="kube-apiserver")
    if not cluster.kubeconfig("admin").exists():
        cluster.write_kubeconfigs(ports["api"], authority)
    for name in PARTS[2:]:
        ensure(name)


def wait_for_proxy(ports: dict[str, int]) -> None:
    """Return when kube-proxy has written its rules; it begins only once its node is there."""
    health = f"http://127.0.0.1:{ports['proxy-health']}/healthz"
    processes.wait("kube-proxy", lambda: processes.answers(health), seconds=60, of="kube-proxy")


def _ready(url: str, authority: Path) -> bool:
    import ssl

    try:
        context = ssl.create_default_context(cafile=str(authority))
        token = (cluster.folder() / "admin.token").read_text()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(url, verify=context, headers=headers, timeout=2).status_code == 200
    except (OSError, httpx.HTTPError):
        return False


def _etcd(_: Path, ports: dict[str, int], folder: Path) -> list[str]:
    client, peer = f"http://127.0.0.1:{ports['etcd']}", f"http://127.0.0.1:{ports['etcd-peer']}"
    return [
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _apiserver(binaries: Path, ports: dict[str, int], folder: Path) -> list[str]:
    key = folder / "service-accounts.key"
    if not key.exists():
        processes.run(["openssl", "genrsa", "-out", key, "2048"])
        cluster.write_tokens()
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
        f"--bind-address={cluster.API_ADDRESS}",
        f"--advertise-address={cluster.API_ADDRESS}",
        f"--secure-port={ports['api']}",
        f"--tls-cert-file={certificates.places().served}",
        f"--tls-private-key-file={certificates.places().served_key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={cluster.SERVICES}",
        f"--audit-policy-file={audit.write_policy()}",
        f"--audit-log-path={audit.path()}",
        "--audit-log-mode=blocking",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _controller_manager(binaries: Path, ports: dict[str, int], folder: Path) -> list[str]:
    return [
        str(binaries / "kube-controller-manager"),
        f"--kubeconfig={cluster.kubeconfig('controller-manager')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--node-monitor-grace-period={NODE_GRACE}",
        "--node-monitor-period=1s",
        f"--service-account-private-key-file={folder / 'service-accounts.key'}",
        f"--root-ca-file={certificates.places().authority}",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _scheduler(binaries: Path, ports: dict[str, int], folder: Path) -> list[str]:
    config = cluster.kubeconfig("scheduler")
    return [
        str(binaries / "kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--cert-dir={folder / 'certificates'}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports['scheduler']}",
    ]


def _proxy(binaries: Path, ports: dict[str, int], folder: Path) -> list[str]:
    path = folder / "kube-proxy.yaml"
    path.write_text(
        f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: {cluster.NODES[0].name}
clientConnection: {{kubeconfig: "{cluster.kubeconfig("proxy")}"}}
clusterCIDR: {cluster.PODS}
healthzBindAddress: 127.0.0.1:{ports["proxy-health"]}
metricsBindAddress: 127.0.0.1:{ports["proxy-metrics"]}
conntrack: {{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
iptables: {{localhostNodePorts: false, minSyncPeriod: 0s}}
"""
    )
    return [str(binaries / "kube-proxy"), f"--config={path}"]


def check_etcd_flags() -> None:
    """Raise when the installed etcd is older than the flags used here."""
    if "unsafe-no-fsync" not in processes.run(["etcd", "--help"]):
        raise TestbedError("etcd is too old: it lacks --unsafe-no-fsync")
