"""Installs what the servers need from the system's package registry, quietly; what is there already is left alone."""

import os
import shutil
import subprocess

from testbed.errors import TestbedError

NEEDED = {
    "redis-server": "redis-server",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "busybox": "busybox-static",
    "iptables": "iptables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "wget": "wget",
    # Reads compose files without an engine.
    "docker-compose": "docker-compose",
}
"""Command → the Debian package that brings it."""


def install() -> list[str]:
    """Install what is missing; the names of the packages that were installed. Raises `TestbedError`."""
    missing = sorted({package for command, package in NEEDED.items() if shutil.which(command) is None})
    if not missing:
        return []
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise TestbedError(f"missing: {', '.join(missing)}; install them with your system's package manager")
    # Installing starts services on Debian; the testbed starts its own on free ports.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
    ):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TestbedError(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")
    return missing
