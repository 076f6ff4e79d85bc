"""The port that every server of the testbed implements, and the record of one that runs."""

import shutil
from typing import Protocol

import msgspec

from testbed import places
from testbed.errors import Missing


class Record(msgspec.Struct):
    """What a running server keeps between two runs of the command: its ports and the variables it gives to tests."""

    ports: dict[str, int] = {}
    variables: dict[str, str] = {}
    extra: dict[str, str] = {}


class Server(Protocol):
    """One server; every method may be called again and does only what is still to do."""

    name: str
    variables: tuple[str, ...]
    """Names of the environment variables it gives; the first one tells that a user has such a server already."""
    needs: tuple[str, ...]
    """Other servers that must run first."""

    def check(self) -> None:
        """Raise Missing when this machine cannot have it."""

    def start(self) -> Record:
        """Start what is not running and return when it answers."""

    def stop(self, *, kill: bool = False) -> None:
        """End its processes; its data stays."""

    def running(self) -> bool:
        """Whether all its processes live."""

    def clean(self) -> None:
        """Undo what it changed in the system (links, mounts, chains); called after stop by `down`."""


def load(name: str) -> Record:
    """The record of a server, empty when it never ran."""
    try:
        return msgspec.json.decode((places.state() / f"{name}.json").read_bytes(), type=Record)
    except OSError:
        return Record()


def save(name: str, record: Record) -> None:
    """Keep the record."""
    places.state().mkdir(parents=True, exist_ok=True)
    (places.state() / f"{name}.json").write_bytes(msgspec.json.encode(record))


def require_commands(server: str, *commands: str) -> None:
    """Raise Missing when a command is not on the PATH."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        raise Missing(f"{server} needs {', '.join(missing)} (as root: python -m testbed install)")
