"""One node: its own containerd, kubelet, pod network and cgroup. What two nodes share is this machine's kernel."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

from testbed import processes
from testbed.errors import TestbedError
from testbed.kubernetes import cluster
from testbed.kubernetes.cluster import Node
from testbed.kubernetes.images import PAUSE

CNI_RESULTS = Path("/var/lib/cni/results")
NETWORK_SPACES = Path("/var/run/netns")
CONTAINER_LOGS = Path("/var/log/containers")
CGROUPS = Path("/sys/fs/cgroup")
NAMESPACE = "k8s.io"
"""Of containerd: where its Kubernetes side keeps images and containers."""


def parts(node: Node) -> tuple[str, str]:
    """Names of the node's processes in the order in which they start."""
    return f"containerd-{node.index}", f"kubelet-{node.index}"


def start(node: Node, binaries: Path, archives: list[Path], ports: dict[str, int]) -> None:
    """Start what of the node does not run; its images are there before its kubelet."""
    containerd, kubelet = parts(node)
    node.folder.mkdir(parents=True, exist_ok=True)
    if processes.find(containerd) is None:
        processes.start(containerd, ["containerd", "--config", _containerd(node)])
    processes.wait(f"{containerd} answers", lambda: _answers(node), seconds=30, of=containerd)
    imported, wanted = node.folder / "imported", "\n".join(map(str, archives))
    if not imported.exists() or imported.read_text() != wanted:
        for archive in archives:
            _ctr(node, "images", "import", str(archive))
        imported.write_text(wanted)
    if processes.find(kubelet) is None:
        for hierarchy in _hierarchies():
            (hierarchy / node.cgroup).mkdir(parents=True, exist_ok=True)
        command = [
            str(binaries / "kubelet"),
            f"--config={_kubelet(node, ports)}",
            f"--kubeconfig={cluster.kubeconfig(node.name)}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--root-dir={node.folder / 'kubelet'}",
            f"--cert-dir={node.folder / 'certificates'}",
        ]
        processes.start(kubelet, command)


def stop(node: Node, *, kill: bool = False) -> None:
    """End the node's processes; its containers live on, as they do when a kubelet is restarted."""
    for name in reversed(parts(node)):
        processes.stop(name, kill=kill)


def clean(node: Node) -> None:
    """End its containers and take back mounts, network spaces, cgroups and log links."""
    stop(node, kill=True)
    _end_shims(node)
    _end_containers(node)
    _drop_network_spaces(node)
    _unmount(node.folder)
    for hierarchy in _hierarchies():
        _drop_cgroups(hierarchy / node.cgroup)
        with contextlib.suppress(OSError):
            (hierarchy / node.cgroup).parent.rmdir()
    for link in CONTAINER_LOGS.glob("*.log") if CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and str(link.readlink()).startswith(str(node.folder)):
            link.unlink()


def _answers(node: Node) -> bool:
    try:
        _ctr(node, "version")
    except TestbedError:
        return False
    return True


def _ctr(node: Node, *words: str) -> str:
    return processes.run(["ctr", "--address", node.socket, "--namespace", NAMESPACE, *words], seconds=120)


def _containerd(node: Node) -> Path:
    """Its configuration: everything of it under the node's folder."""
    network = node.folder / "network"
    network.mkdir(exist_ok=True)
    (network / "10-kt.conflist").write_text(json.dumps(_network(node)))
    path = node.folder / "containerd.toml"
    path.write_text(
        f"""\
version = 2
root = "{node.folder}/containerd"
state = "{node.folder}/run"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{node.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""
    )
    return path


def _network(node: Node) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": node.bridge,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(node.folder / "addresses"),
            "ranges": [[{"subnet": node.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "0.4.0", "name": node.bridge, "plugins": [bridge, {"type": "loopback"}]}


def _kubelet(node: Node, ports: dict[str, int]) -> Path:
    """Its configuration. Whoever reaches its address may ask it: only this machine can."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "port": ports[f"kubelet-{node.index}"],
        "healthzPort": ports[f"kubelet-health-{node.index}"],
        "healthzBindAddress": "127.0.0.1",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "imagefs.available"), "0%"),
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(node.folder / "logs"),
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "10s",
        "nodeLeaseDurationSeconds": 4,
        "syncFrequency": "5s",
        "maxPods": 60,
        "registerNode": True,
        "resolvConf": "",
        "logging": {"verbosity": 1},
    }
    path = node.folder / "kubelet.yaml"
    path.write_text(json.dumps(config))
    return path


def _hierarchies() -> list[Path]:
    """The roots of the cgroup hierarchies: one with cgroup v2, one for each controller with v1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return sorted({path.resolve() for path in CGROUPS.iterdir() if path.is_dir()})


def _lines(file: Path) -> list[str]:
    """The lines of a file of the kernel's; none when its cgroup has gone meanwhile."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _end_containers(node: Node) -> None:
    """Kill whatever runs in the node's cgroup: that is its containers and nothing else."""

    def pids() -> set[str]:
        files = [file for root in _hierarchies() for file in (root / node.cgroup).rglob("cgroup.procs")]
        return {pid for file in files for pid in _lines(file)}

    def none_left() -> bool:
        for pid in pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        return not pids()

    processes.wait(f"the containers of {node.name} have ended", none_left, seconds=20)


def _end_shims(node: Node) -> None:
    """Shims are children of init; they carry the address of their containerd in their command line."""
    for found in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = found.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"containerd-shim-runc-v2") and str(node.socket).encode() in words:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(found.parent.name), signal.SIGKILL)


def _drop_network_spaces(node: Node) -> None:
    """The network spaces of its pods, which the results of its CNI plugins name."""
    for result in CNI_RESULTS.glob(f"{node.bridge}-*") if CNI_RESULTS.is_dir() else ():
        container = result.name.removeprefix(f"{node.bridge}-").removesuffix("-eth0")
        (CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        interfaces = json.loads(result.read_text()).get("result", {}).get("interfaces", [])
        for name in {Path(each["sandbox"]).name for each in interfaces if each.get("sandbox")}:
            if (NETWORK_SPACES / name).exists():
                processes.run(["ip", "netns", "delete", name])
        result.unlink()


def _unmount(folder: Path) -> None:
    """Everything mounted below a folder, the deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in points if Path(point).is_relative_to(folder)), key=len, reverse=True):
        processes.run(["umount", "--lazy", point])


def _drop_cgroups(group: Path) -> None:
    if not group.is_dir():
        return
    for below in sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            below.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()


def check() -> None:
    """Raise `TestbedError` when the plugins of the pod network are not where containerd looks for them."""
    missing = [name for name in ("bridge", "host-local", "loopback") if not (Path("/usr/lib/cni") / name).exists()]
    if missing or shutil.which("ctr") is None:
        raise TestbedError(f"missing: {', '.join(missing)} in /usr/lib/cni")
