"""Kubernetes with two nodes on this machine: built from source, run as plain processes."""

import contextlib
import os
import shutil
from pathlib import Path

from testbed import places, processes, server
from testbed.errors import Missing, TestbedError
from testbed.kubernetes import build, cluster, control_plane, images, network, nodes

COMMANDS = ("etcd", "containerd", "ctr", "runc", "ip", "iptables", "conntrack", "openssl", "busybox")


class Kubernetes:
    """A control plane and two nodes; everything in it stays over restarts, nothing stays after `down`."""

    name = "kubernetes"
    variables: tuple[str, ...] = ("KT_TEST_KUBECONFIG", "KT_TEST_KUBECTL", "KT_TEST_KUBECONFIG_OF_KT")
    needs: tuple[str, ...] = ()

    def check(self) -> None:
        if os.geteuid() != 0:
            raise Missing("kubernetes needs root: it makes links, mounts and cgroups")
        server.require_commands(self.name, *COMMANDS)
        nodes.check()
        if shutil.which("go") is None:
            raise Missing("kubernetes needs go (https://go.dev/dl), to build it from source once")
        if not server.load(self.name).ports and (other := _another()):
            raise TestbedError(f"a machine has room for one cluster, and process {other} is the API server of another")

    def start(self) -> server.Record:
        record = server.load(self.name)
        if not record.ports:
            of_nodes = [f"{what}-{node.index}" for node in cluster.NODES for what in ("kubelet", "kubelet-health")]
            names = [*control_plane.PORTS, *of_nodes, "exporter"]
            record.ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
        binaries, archives = build.binaries(), images.archives()
        values = (cluster.kubeconfig("admin"), binaries / "kubectl", cluster.kubeconfig("kt"))
        record.variables = dict(zip(self.variables, map(str, values), strict=True))
        cluster.folder().mkdir(parents=True, exist_ok=True)
        network.up(record)
        server.save(self.name, record)
        control_plane.start(binaries, record.ports)
        for node in cluster.NODES:
            nodes.start(node, binaries, archives, record.ports)
        exporter(record.ports)
        self._wait_for_nodes()
        control_plane.wait_for_proxy(record.ports)
        return record

    def stop(self, *, kill: bool = False) -> None:
        for node in reversed(cluster.NODES):
            nodes.stop(node, kill=kill)
        for name in ("exporter", *reversed(control_plane.PARTS)):
            processes.stop(name, kill=kill)

    def running(self) -> bool:
        names = [*control_plane.PARTS, *(name for node in cluster.NODES for name in nodes.parts(node)), "exporter"]
        return all(processes.find(name) for name in names)

    def clean(self) -> None:
        if not cluster.folder().is_dir():
            return
        for node in cluster.NODES:
            nodes.clean(node)
        network.down(server.load(self.name))

    @staticmethod
    def _wait_for_nodes() -> None:
        with cluster.Api(cluster.kubeconfig("admin")) as api:

            def ready() -> bool:
                found = api.get("/api/v1/nodes")["items"]
                conditions = [each for node in found for each in node["status"].get("conditions", [])]
                well = [each for each in conditions if each["type"] == "Ready" and each["status"] == "True"]
                return len(well) >= len(cluster.NODES)

            processes.wait("both nodes are ready", ready, seconds=90, of="kubelet-1")


def _another() -> str:
    """The id of an API server that has the address of ours, empty when there is none."""
    address = f"--bind-address={cluster.API_ADDRESS}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if address in (process / "cmdline").read_bytes().split(b"\0"):
                return process.name
    return ""


def exporter(ports: dict[str, int]) -> None:
    """Start what tells Prometheus the state of the cluster, if it does not run."""
    import sys

    if processes.find("exporter") is None:
        words = [sys.executable, "-m", "testbed.kubernetes.exporter", str(cluster.kubeconfig("admin"))]
        processes.start("exporter", [*words, str(ports["exporter"])], cwd=places.HERE.parent)
    url = f"http://127.0.0.1:{ports['exporter']}/metrics"
    processes.wait("the exporter answers", lambda: processes.answers(url), seconds=30, of="exporter")


def kubectl() -> Path:
    """The kubectl that was built."""
    return build.binaries() / "kubectl"
