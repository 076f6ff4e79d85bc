"""Disturbs what is on the machine, or in the pod, where the experiment runs: a process, a volume, a file.

Each is noted before it happens, ends by itself after `seconds`, and is taken back by `restore_here(name)` from any
process (see `verify.actions.noted`).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from verify.actions.changing import failed
from verify.actions.network import start_proxy
from verify.actions.noted import digest, note, overwrite, restore_here, started_at

__all__ = [
    "expire_certificate", "fail_dns", "fill_volume", "freeze_process", "replace_file", "restore_here",
    "slow_api_server",
]  # fmt: skip
MEGABYTE = 1024 * 1024
CHUNK = 16 * MEGABYTE
NOWHERE = "192.0.2.1"
"""An address that nobody has (RFC 5737)."""
_CA = """[ca]
default_ca = here
[here]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copyall
[any]
commonName = optional
organizationName = optional
"""


def freeze_process(name: str, pid_file: str = "", program: str = "", seconds: float = 60.0) -> dict[str, Any]:
    """Stop a process where it is (SIGSTOP), such as a kubelet: it lives, holds what it has, and does nothing.

    `pid_file`: a file with its number; or `program`: the name of its executable, if only one process runs that.
    """
    pid = _pid_in(pid_file) if pid_file else _only(program)
    if pid in (0, 1, os.getpid(), os.getppid()):
        raise failed(f"process {pid} is not frozen: the experiment itself depends on it")
    started = started_at(pid)
    if not started:
        raise failed(f"there is no process {pid}")
    note(name, seconds, kind="process", pid=pid, started=started)
    try:
        os.kill(pid, signal.SIGSTOP)
    except (ProcessLookupError, PermissionError) as error:
        restore_here(name)
        raise failed(f"process {pid} cannot be stopped: {error.strerror}") from error
    return {"frozen": pid}


def fill_volume(
    name: str, folder: str, megabytes: int = 0, leave_megabytes: int = 0, seconds: float = 60.0
) -> dict[str, Any]:
    """Take room on the volume of `folder`, with one file in it: so many megabytes, or all but `leave_megabytes`.

    The volume of the machine itself (`/`) is never filled whole.
    """
    if not megabytes and Path(folder).exists() and Path(folder).stat().st_dev == Path("/").stat().st_dev:
        raise failed(f"{folder} is on the volume of the machine itself; say with `megabytes` how much may be taken")
    file = Path(folder) / f".kt-chaos-{name}"
    if file.exists():
        raise failed(f"{file} is there already")
    note(name, seconds, kind="room", path=str(file))
    try:
        taken = _take(file, megabytes * MEGABYTE, leave_megabytes * MEGABYTE)
    except OSError as error:
        restore_here(name)
        raise failed(f"{file}: {error.strerror}") from error
    return {"taken_megabytes": taken // MEGABYTE, "file": str(file)}


def replace_file(name: str, path: str, content: str, seconds: float = 60.0) -> dict[str, Any]:
    """Give a file another content for a while; its owner and mode stay."""
    place = Path(path)
    try:
        before = place.read_bytes()
    except OSError as error:
        raise failed(f"{path}: {error.strerror}") from error
    wanted = content.encode()
    # As it was named: /proc/PID/root, the files of a container, leads elsewhere once it is resolved.
    note(name, seconds, before, kind="file", path=str(place.absolute()), set_to=digest(wanted))
    try:
        overwrite(place, wanted)
    except OSError as error:
        restore_here(name)
        raise failed(f"{path}: {error.strerror}") from error
    return {"replaced": path}


def fail_dns(name: str, path: str = "/etc/resolv.conf", seconds: float = 60.0) -> dict[str, Any]:
    """Let no name be resolved here: the only name server is one that never answers. Names in /etc/hosts go on."""
    return replace_file(name, path, f"nameserver {NOWHERE}\noptions timeout:1 attempts:1\n", seconds)


def expire_certificate(
    name: str, certificate: str, key: str, ca_certificate: str, ca_key: str, seconds: float = 60.0
) -> dict[str, Any]:
    """Put in place of a certificate (a PEM file) one of the same subject and names that ended yesterday.

    `key`: of the certificate; `ca_certificate`, `ca_key`: what clients trust, with which it is signed. Programs that
    read their certificate only when they start have to be started again. Needs the program `openssl`.
    """
    with tempfile.TemporaryDirectory(prefix="kt-chaos-") as folder:
        place = Path(folder)
        (place / "index").touch()
        (place / "serial").write_text(f"{int.from_bytes(os.urandom(8), 'big') | 1:016X}\n")
        (place / "ca.cnf").write_text(_CA.format(folder=folder))
        request = ["x509", "-x509toreq", "-copy_extensions", "copyall", "-in", certificate, "-signkey", key]
        _openssl(*request, "-out", f"{folder}/request")
        _openssl(
            "ca", "-batch", "-notext", "-config", f"{folder}/ca.cnf", "-cert", ca_certificate, "-keyfile", ca_key,
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-preserveDN",
            "-in", f"{folder}/request", "-out", f"{folder}/expired",
        )  # fmt: skip
        expired = (place / "expired").read_text()
    return replace_file(name, certificate, expired, seconds)


def slow_api_server(
    name: str, kubeconfig: str, delay_ms: float = 500.0, jitter_ms: float = 0.0, reset: float = 0.0,
    seconds: float = 60.0,
) -> dict[str, Any]:  # fmt: skip
    """Let the API server answer late to whoever uses this kubeconfig (of KT, of a controller, of a kubelet).

    The file leads to a proxy of this run instead, which delays; `reset`: share of connections that it cuts. What has
    the file open or keeps connections must read it again. When the run dies, the API server is not reached at all until
    the file is restored, after `seconds` at the latest.
    """
    from urllib.parse import urlsplit

    from yaml import safe_dump, safe_load

    try:
        content = safe_load(Path(kubeconfig).read_text())
        contexts = {each["name"]: each["context"]["cluster"] for each in content["contexts"]}
        wanted = contexts[content["current-context"]]
        cluster = next(each["cluster"] for each in content["clusters"] if each["name"] == wanted)
        server = urlsplit(cluster["server"])
        host = str(server.hostname)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise failed(f"{kubeconfig} is no kubeconfig with a current context: {error!r}") from error
    usual = 443 if server.scheme == "https" else 80
    started = start_proxy(0, host, server.port or usual, delay_ms, jitter_ms, reset=reset, seconds=seconds)
    cluster["server"] = server._replace(netloc=f"127.0.0.1:{started['port']}").geturl()
    if server.scheme == "https":
        cluster.setdefault("tls-server-name", host)
    return replace_file(name, kubeconfig, safe_dump(content), seconds) | started


def _pid_in(file: str) -> int:
    try:
        return int(Path(file).read_text().split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise failed(f"{file} does not hold the number of a process: {error}") from error


def _only(program: str) -> int:
    if not program:
        raise failed("name the process: `pid_file` or `program`")
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if words and Path(os.fsdecode(words[0])).name == program:
            found.append(int(entry.parent.name))
    if len(found) != 1:
        raise failed(f"{len(found)} processes are called “{program}”; with `pid_file` one can be told apart")
    return found[0]


def _take(file: Path, wanted: int, left: int) -> int:
    """Bytes taken: `wanted`, or when that is 0 until no more than `left` is free."""
    descriptor, taken = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), 0
    try:
        while True:
            free = os.statvfs(file).f_bavail * os.statvfs(file).f_frsize
            step = min(CHUNK, wanted - taken if wanted else free - left)
            if step <= 0:
                return taken
            try:
                os.posix_fallocate(descriptor, taken, step)
            except OSError as error:
                if error.errno == errno.ENOSPC and not wanted:
                    return taken
                raise
            taken += step
    finally:
        os.close(descriptor)


def _openssl(*arguments: str) -> None:
    try:
        subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30, check=True)
    except FileNotFoundError as error:
        raise failed("the program openssl is not installed") from error
    except subprocess.CalledProcessError as error:
        raise failed(f"openssl {arguments[0]}: {error.stderr.strip()[-300:]}") from error
