"""Links, addresses and kernel settings that two nodes on one machine need, and taking all of it back."""

import shutil
from pathlib import Path

from testbed import processes, server
from testbed.errors import TestbedError
from testbed.kubernetes.cluster import BRIDGE, NODES

# Forwarding between the pods' bridges; packets between two pods of one bridge must pass kube-proxy's rules too.
SETTINGS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}


def up(record: server.Record) -> None:
    """Make the hosts' bridge with an address for each node; remember the kernel settings that are changed."""
    for name, value in SETTINGS.items():
        path = Path("/proc/sys") / name
        if not path.exists():
            continue
        before = path.read_text().strip()
        if before != value:
            record.extra.setdefault(f"sysctl {name}", before)
            path.write_text(value)
    if not _exists(BRIDGE):
        processes.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    for node in NODES:
        processes.run(["ip", "address", "replace", f"{node.address}/24", "dev", BRIDGE])
    processes.run(["ip", "link", "set", BRIDGE, "up"])


def down(record: server.Record) -> None:
    """Remove the links, restore the settings, and delete kube-proxy's chains."""
    for link in (BRIDGE, *(node.bridge for node in NODES)):
        if _exists(link):
            processes.run(["ip", "link", "delete", link])
    for key, value in record.extra.items():
        if key.startswith("sysctl "):
            (Path("/proc/sys") / key.removeprefix("sysctl ")).write_text(value)
    for command in ("iptables", "ip6tables"):
        if shutil.which(f"{command}-save"):
            _drop_chains(command)


def _exists(link: str) -> bool:
    return Path(f"/sys/class/net/{link}").exists()


def _drop_chains(command: str) -> None:
    """Delete every chain named KUBE-… and every rule that jumps to one; nobody else's."""
    try:
        lines = processes.run([f"{command}-save"]).splitlines()
    except TestbedError:
        return  # a kernel without that family has no chains of it
    table = ""
    chains: dict[str, list[str]] = {}
    rules: dict[str, list[str]] = {}
    others: dict[str, int] = {}
    for line in lines:
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":KUBE-"):
            chains.setdefault(table, []).append(line[1:].split()[0])
        elif line.startswith("-A ") and not line.startswith("-A KUBE-"):
            if "-j KUBE-" in line:
                rules.setdefault(table, []).append("-D" + line[2:])
            else:
                others[table] = others.get(table, 0) + 1
    for table, names in chains.items():
        script = [f"*{table}", *rules.get(table, []), *(f"-F {name}" for name in names)]
        script += [*(f"-X {name}" for name in names), "COMMIT", ""]
        processes.run([f"{command}-restore", "--noflush"], stdin="\n".join(script))
