"""Write container images by hand: a docker-archive tar with the shop's binary, and one with busybox.

There is no image registry, and none is needed: a layer is a tar, an image is its configuration and a manifest. All tags
share their layer; they differ in the command, so shop:bad is the same program with the failure built in.
"""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from testbed import places
from testbed.errors import Missing
from testbed.kubernetes import build

PAUSE = "docker.io/library/pause:testbed"
SHOP = "docker.io/library/shop"
BUSYBOX = "docker.io/library/busybox:testbed"
BAD_SHARE = "0.5"


def _layer(program: Path, target: str, links: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        entry = tarfile.TarInfo(target)
        entry.mode, entry.size = 0o755, program.stat().st_size
        with program.open("rb") as handle:
            tar.addfile(entry, handle)
        for name in links:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/" + target
            tar.addfile(link)
    return buffer.getvalue()


def _write(path: Path, layer: bytes, commands: dict[str, list[str]]) -> None:
    """One archive: the layer once, a configuration and a manifest entry for each tag."""
    digest = hashlib.sha256(layer).hexdigest()
    manifest = []
    with tarfile.open(path, "w") as tar:
        _add(tar, f"{digest}.tar", layer)
        for tag, command in commands.items():
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "config": {"Entrypoint": command, "Env": ["PATH=/bin"], "Labels": {"tag": tag}},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                }
            ).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(tar, name, config)
            manifest.append({"Config": name, "RepoTags": [tag], "Layers": [f"{digest}.tar"]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def archives() -> list[Path]:
    """The archives to import on each node: pause, shop:v1, shop:v2, shop:bad and busybox:testbed."""
    shop = build.shop()
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Missing("kubernetes needs busybox-static (as root: python -m testbed install)")

    def make(folder: Path) -> None:
        tags = {f"{SHOP}:{version}": ["/bin/shop", f"-version={version}"] for version in ("v1", "v2")}
        tags[f"{SHOP}:bad"] = ["/bin/shop", "-version=bad", f"-fail-ratio={BAD_SHARE}"]
        tags[PAUSE] = ["/bin/shop", "pause"]
        _write(folder / "shop.tar", _layer(shop, "bin/shop"), tags)
        links = ("sh", "sleep", "cat", "ls", "wget", "dd", "kill", "true", "false", "echo", "nslookup", "tail")
        _write(folder / "busybox.tar", _layer(Path(busybox), "bin/busybox", links), {BUSYBOX: ["/bin/sh"]})

    made = places.built("images", places.digest([shop, Path(busybox), Path(__file__)]), make)
    return [made / "shop.tar", made / "busybox.tar"]
