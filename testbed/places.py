"""Where the testbed keeps things: a cache that outlives it, and a state folder that `down` removes.

Both lie outside the repository. The cache is keyed by a hash of what determines each built thing, so a change of a
version or of a source file builds anew and an old checkout still finds its own.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent


def cache() -> Path:
    """The cache's folder, made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "kt-testbed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def state() -> Path:
    """The folder of what runs now (configuration, data, logs, process ids); `down` removes it."""
    chosen = os.environ.get("KT_TESTBED_STATE")
    return Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"kt-testbed-{os.getuid()}"


def own(name: str) -> str:
    """The name of this test worker's own instance of a server; `name` itself where tests run one after the other.

    Workers that run side by side (pytest-xdist) empty and flush their stores without asking each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return f"{name}-{worker}" if worker else name


def digest(parts: Iterable[Path | str]) -> str:
    """A short hash over the names and contents of files, and over texts."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            sha.update(part.name.encode() + b"\0" + part.read_bytes())
        else:
            sha.update(part.encode())
        sha.update(b"\0")
    return sha.hexdigest()[:16]


def built(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `<cache>/<name>-<key>`, made by `make` if it is not there; whole or not at all."""
    final = cache() / f"{name}-{key}"
    with locked(final.name):
        if final.is_dir():
            return final
        half = final.with_name(f"{final.name}.{os.getpid()}.part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        try:
            make(half)
            half.rename(final)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return final


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Hold the lock of a server or of a thing that is built; a second caller waits until the first is done."""
    with (cache() / f"{what}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
