"""Disturbances of the machine where an experiment runs: seen, bounded in time, taken back by whoever comes later."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaoslib.exceptions import ActivityFailed

from tests.conftest import missing
from tests.e2e.installation import until
from twin.server import Twin
from verify import actions, plain
from verify.actions import noted
from verify.kubernetes import Api

pytestmark = pytest.mark.usefixtures("own_notes")


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that answers each line with the next number."""
    line = "import sys\nfor number, _ in enumerate(sys.stdin): print(number, flush=True)"
    process = subprocess.Popen([sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    (tmp_path / "pid").write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.communicate()


def state(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def answers(process: subprocess.Popen[str]) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_a_frozen_process_does_nothing_until_it_is_thawed(counter: subprocess.Popen[str], tmp_path: Path) -> None:
    assert answers(counter) == "0\n"
    assert actions.freeze_process("kubelet", pid_file=str(tmp_path / "pid")) == {"frozen": counter.pid}
    until(lambda: state(counter) == "T", "it stands still")
    with pytest.raises(ActivityFailed, match="disturbed already"):
        actions.freeze_process("kubelet", pid_file=str(tmp_path / "pid"))
    assert actions.restore_here("kubelet") == {"restored": [f"process {counter.pid}"]}
    assert answers(counter) == "1\n"
    assert actions.restore_here("kubelet") == {"restored": []}


def test_a_process_that_cannot_be_told_apart_or_is_not_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ActivityFailed, match="0 processes are called"):
        actions.freeze_process("x", program="no-such-program")
    (tmp_path / "pid").write_text(str(os.getpid()))
    with pytest.raises(ActivityFailed, match="depends on it"):
        actions.freeze_process("x", pid_file=str(tmp_path / "pid"))
    (tmp_path / "pid").write_text("4194305")
    with pytest.raises(ActivityFailed, match="no process"):
        actions.freeze_process("x", pid_file=str(tmp_path / "pid"))
    with pytest.raises(ActivityFailed, match="seconds is 0"):
        actions.replace_file("x", str(tmp_path / "pid"), "", seconds=0)
    with pytest.raises(ActivityFailed, match="is no name"):
        actions.restore_here("../x")


def test_another_process_that_has_the_number_now_is_not_touched(counter: subprocess.Popen[str]) -> None:
    noted.note("old", 60, kind="process", pid=counter.pid, started="1")
    os.kill(counter.pid, signal.SIGSTOP)
    assert actions.restore_here("old") == {"restored": []}
    until(lambda: state(counter) == "T", "it stands still as somebody else wanted")
    os.kill(counter.pid, signal.SIGCONT)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=False)
    if mounted.returncode:
        missing("the right to mount a file system (root has it)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def written(volume: Path, megabytes: int = 1) -> bool:
    try:
        (volume / "log").write_bytes(b"x" * megabytes * 1024 * 1024)
    except OSError:
        (volume / "log").unlink()
        return False
    return True


def test_a_full_volume_takes_no_more_until_it_is_emptied(volume: Path) -> None:
    assert written(volume, 4)
    (volume / "log").unlink()
    assert actions.fill_volume("room", str(volume), leave_megabytes=2)["taken_megabytes"] == 22
    assert not written(volume, 4)
    assert actions.restore_here("room") == {"restored": [str(volume / ".kt-chaos-room")]}
    assert written(volume, 4)
    (volume / "log").unlink()
    assert actions.fill_volume("room", str(volume))["taken_megabytes"] == 24
    assert not written(volume)
    actions.restore_here("room")
    with pytest.raises(ActivityFailed, match="No space"):
        actions.fill_volume("room", str(volume), megabytes=25)
    assert list(volume.iterdir()) == []
    assert actions.restore_here("room") == {"restored": []}


def test_the_volume_of_the_machine_is_not_filled_whole(tmp_path: Path) -> None:
    with pytest.raises(ActivityFailed, match="volume of the machine itself"):
        actions.fill_volume("room", "/")
    assert actions.fill_volume("room", str(tmp_path), megabytes=3)["taken_megabytes"] == 3
    assert (tmp_path / ".kt-chaos-room").stat().st_size == 3 * 1024 * 1024
    actions.restore_here("room")
    assert not (tmp_path / ".kt-chaos-room").exists()


def test_a_file_is_put_back_with_its_mode_but_not_over_what_somebody_else_wrote(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("right")
    file.chmod(0o640)
    actions.replace_file("settings", str(file), "wrong")
    assert file.read_text() == "wrong"
    actions.restore_here("settings")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("right", 0o640)
    actions.replace_file("settings", str(file), "wrong")
    file.write_text("theirs")
    assert actions.restore_here("settings") == {"restored": []}
    assert file.read_text() == "theirs"
    assert list((tmp_path / "notes").glob("kt-chaos-*/*")) == []


def test_names_are_not_resolved_while_dns_fails(tmp_path: Path) -> None:
    """In a mount namespace of its own, so that nothing else on this machine notices."""
    own = tmp_path / "resolv.conf"
    own.write_text(Path("/etc/resolv.conf").read_text())
    actions.fail_dns("dns", str(own))
    nothing = (
        "import socket\ntry: socket.getaddrinfo('kt.invalid', 80)\nexcept socket.gaierror as error: print(error.errno)"
    )
    look = f'mount --bind {own} /etc/resolv.conf && exec {sys.executable} -c "$LOOK"'
    found = subprocess.run(
        ["unshare", "-m", "sh", "-c", look], env={**os.environ, "LOOK": nothing},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        missing("the right to make a mount namespace (root has it)")
    # Nobody said that the name does not exist: nobody answered.
    assert int(found.stdout) == socket.EAI_AGAIN
    actions.restore_here("dns")
    assert own.read_text() == Path("/etc/resolv.conf").read_text()


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture
def secured(tmp_path: Path) -> Path:
    """A folder with a CA and a certificate of localhost that it signed."""
    at, name = str(tmp_path), "subjectAltName=DNS:localhost"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{at}/ca.key", "-out", f"{at}/ca.pem",
            "-subj", "/CN=test", "-days", "2")  # fmt: skip
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{at}/key.pem", "-out", f"{at}/tls.pem",
            "-subj", "/CN=localhost", "-days", "2", "-addext", name,
            "-CA", f"{at}/ca.pem", "-CAkey", f"{at}/ca.key")  # fmt: skip
    return tmp_path


def greeted(folder: Path) -> str:
    """What a client finds that trusts the CA: the subject, or why it does not trust the server."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "tls.pem", folder / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            try:
                with theirs.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(1)
            except OSError:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        mine = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        try:
            with (
                socket.create_connection(server.getsockname()) as plain_,
                mine.wrap_socket(plain_, server_hostname="localhost") as secure,
            ):
                return str(secure.getpeercert())
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        finally:
            thread.join()


def test_clients_refuse_an_expired_certificate_until_it_is_put_back(secured: Path) -> None:
    assert "localhost" in greeted(secured)
    before = (secured / "tls.pem").read_text()
    served, key, ca, ca_key = (str(secured / name) for name in ("tls.pem", "key.pem", "ca.pem", "ca.key"))
    actions.expire_certificate("tls", served, key, ca, ca_key)
    assert greeted(secured) == "certificate has expired"
    actions.restore_here("tls")
    assert (secured / "tls.pem").read_text() == before
    assert "localhost" in greeted(secured)
    with pytest.raises(ActivityFailed, match="openssl"):
        actions.expire_certificate("tls", str(secured / "none"), key, ca, ca_key)


def took(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def test_the_api_server_answers_late_by_this_kubeconfig_until_it_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin(seed=3).start()
    try:
        file = tmp_path / "kubeconfig"
        file.write_text(Path(twin.kubeconfig).read_text())
        before = file.read_text()
        monkeypatch.setenv("KUBECONFIG", str(file))
        monkeypatch.delenv("KUBERNETES_CONTEXT", raising=False)
        port = actions.slow_api_server("api", str(file), delay_ms=400)["port"]
        assert took(lambda: Api().get("Deployment", "shop", "cart")) >= 0.4
        assert actions.restore_here("api") == {"restored": [str(file)]}
        assert file.read_text() == before
        assert Api().get("Deployment", "shop", "cart") is not None
        assert actions.stop_proxy(port)
    finally:
        twin.stop()
    with pytest.raises(ActivityFailed, match="no kubeconfig"):
        actions.slow_api_server("api", str(tmp_path / "none"))


def experiment(folder: Path, seconds: float) -> dict[str, Any]:
    def act(function: str, **arguments: Any) -> dict[str, Any]:
        provider = {"type": "python", "module": "verify.actions", "func": function, "arguments": arguments}
        return {"type": "action", "name": function, "provider": provider}

    return {
        "title": "Does it stand?",
        "description": "d",
        "method": [
            act("freeze_process", name="process", pid_file=str(folder / "pid"), seconds=seconds),
            act("fill_volume", name="room", folder=str(folder), megabytes=2, seconds=seconds),
            act("fail_dns", name="dns", path=str(folder / "resolv.conf"), seconds=seconds),
            act("replace_file", name="file", path=str(folder / "settings"), content="wrong", seconds=seconds),
            act("hold", seconds=600),
        ],
        "rollbacks": [act("restore_here", name=name) for name in ("process", "room", "dns", "file")],
    }


class Killed:
    """An experiment whose process was killed in the middle, so that nobody rolled back."""

    def __init__(self, folder: Path, counter: subprocess.Popen[str], seconds: float) -> None:
        self.folder, self.counter = folder, counter
        (folder / "settings").write_text("right")
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        file = folder / "experiment.json"
        file.write_text(json.dumps(experiment(folder, seconds)))
        plain.validate(plain.read(file))
        command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "run", str(file)]
        run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: (folder / "settings").read_text() == "wrong", "all of it is disturbed")
        run.send_signal(signal.SIGKILL)
        run.wait()

    @property
    def left(self) -> set[str]:
        found = {"process"} if state(self.counter) == "T" else set()
        found |= {"room"} if (self.folder / ".kt-chaos-room").exists() else set()
        found |= {"dns"} if "192.0.2.1" in (self.folder / "resolv.conf").read_text() else set()
        return found | ({"file"} if (self.folder / "settings").read_text() != "right" else set())


def test_what_a_killed_run_left_is_taken_back_by_another_process(
    counter: subprocess.Popen[str], tmp_path: Path
) -> None:
    killed = Killed(tmp_path, counter, 600)
    assert killed.left == {"process", "room", "dns", "file"}
    for name in sorted(killed.left):
        line = f"from verify.actions import restore_here; print(restore_here({name!r}))"
        done = subprocess.run([sys.executable, "-c", line], check=True, capture_output=True, text=True)
        assert "'restored': ['" in done.stdout
    assert killed.left == set()
    assert answers(counter) == "0\n"


def test_what_nobody_takes_back_ends_by_itself(counter: subprocess.Popen[str], tmp_path: Path) -> None:
    killed = Killed(tmp_path, counter, 3)
    until(lambda: killed.left == set(), "its time is over")
    assert answers(counter) == "0\n"
    until(lambda: list((tmp_path / "notes").glob("kt-chaos-*/*")) == [], "no note is left")
