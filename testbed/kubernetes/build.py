"""Build the Kubernetes commands and the shop from source with Go; each lands once in the cache."""

import os
import shutil
import subprocess
from pathlib import Path

from testbed import places
from testbed.errors import Missing, TestbedError

FOLDER = Path(__file__).parent
SHOP = FOLDER.parent / "shop"
DESCHEDULER = FOLDER.parent / "descheduler"
KWOK = FOLDER.parent / "kwok"
VERSION = "v1.34.4"
COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")


def _flags() -> str:
    package = "k8s.io/component-base/version"
    stamps = {"gitVersion": VERSION, "gitMajor": "1", "gitMinor": VERSION.split(".")[1]}
    return "-s -w " + " ".join(f"-X {package}.{name}={value}" for name, value in stamps.items())


def _go(arguments: list[str], cwd: Path, *, seconds: float) -> str:
    """Run Go without cgo; its messages are the error's."""
    done = subprocess.run(
        ["go", *arguments],
        cwd=cwd,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        raise TestbedError(f"go {arguments[0]} in {cwd.name} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def binaries() -> Path:
    """The folder of the Kubernetes commands (10 minutes when Go's cache is cold)."""

    def make(folder: Path) -> None:
        packages = [f"k8s.io/kubernetes/cmd/{command}" for command in COMMANDS]
        _go(["build", "-trimpath", "-ldflags", _flags(), "-o", f"{folder}/", *packages], FOLDER, seconds=3600)

    return places.built("kubernetes", _key(), make)


def _key() -> str:
    sources = [FOLDER / name for name in ("go.mod", "go.sum", "tools.go")]
    return places.digest([*sources, _flags(), _go_version()])


def shop() -> Path:
    """The shop's static binary."""

    def make(folder: Path) -> None:
        _go(["build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / "shop"), "."], SHOP, seconds=600)

    sources = [SHOP / name for name in ("go.mod", "main.go", "load.go")]
    return places.built("shop", places.digest([*sources, _go_version()]), make) / "shop"


def descheduler() -> Path:
    """The kubernetes-sigs descheduler, its version that of its go.mod (3 minutes when Go's cache is cold)."""
    if shutil.which("go") is None:
        raise Missing("the descheduler needs go (https://go.dev/dl), to build it from source once")

    def make(folder: Path) -> None:
        package = "sigs.k8s.io/descheduler/cmd/descheduler"
        words = ["build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / "descheduler"), package]
        _go(words, DESCHEDULER, seconds=3600)

    sources = [DESCHEDULER / name for name in ("go.mod", "go.sum")]
    return places.built("descheduler", places.digest([*sources, _go_version()]), make) / "descheduler"


def kwok() -> Path:
    """The folder of kwok's command and, below `stages`, of those that it ships (3 minutes when Go's cache is cold)."""
    if shutil.which("go") is None:
        raise Missing("kwok needs go (https://go.dev/dl), to build it from source once")

    def make(folder: Path) -> None:
        words = ["build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / "kwok"), "sigs.k8s.io/kwok/cmd/kwok"]
        _go(words, KWOK, seconds=3600)
        module = _go(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], KWOK, seconds=60).strip()
        stages, examples = Path(module) / "kustomize" / "stage", shutil.ignore_patterns("testdata")
        shutil.copytree(stages, folder / "stages", ignore=examples)
        # The module cache is read-only, folders included: what is copied of it could not be removed again.
        for each in (folder / "stages", *(folder / "stages").rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)

    sources = [KWOK / name for name in ("go.mod", "go.sum")]
    return places.built("kwok", places.digest([*sources, _go_version()]), make)


def _go_version() -> str:
    if shutil.which("go") is None:
        return "none"
    return subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
