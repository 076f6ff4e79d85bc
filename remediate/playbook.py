"""Playbooks as data: which actions, on what, how risky, and what must hold afterwards. Checked when loaded."""

from __future__ import annotations

from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

STEADY = frozenset({"symptoms-gone", "dependants-gone", "replicas-ready"})
"""What a playbook can ask to hold; the verify package measures them. `dependants-gone`: the symptoms of everything but
the cause, for remedies that move others out of its way and leave it as it is."""


class BadPlaybook(Exception):
    """A playbook is wrong; the message says which file and what."""


class PlaybookStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    action: str
    parameters: dict[str, Any] = {}


class Playbook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    about: str
    targets: tuple[str, ...]
    """Kinds of object that it can be applied to."""
    risk: Literal["low", "medium", "high"]
    steps: tuple[PlaybookStep, ...]
    steady_state: tuple[str, ...]
    undo: str


def load_playbooks(actions: Collection[str], folder: Path | None = None) -> dict[str, Playbook]:
    """The built-in playbooks and those of a folder, which replace built-in ones of their name.

    Raises `BadPlaybook`."""
    found: dict[str, Playbook] = {}
    built_in = [
        (entry.name, entry.read_text())
        for entry in sorted(resources.files("remediate").joinpath("playbooks").iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    ]
    for name, text in [*built_in, *_files(folder)]:
        playbook = _playbook(name, text, actions)
        found[playbook.name] = playbook
    return found


def schema() -> dict[str, Any]:
    """JSON Schema of a playbook file."""
    return msgspec.json.schema(Playbook)


def _files(folder: Path | None) -> list[tuple[str, str]]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise BadPlaybook(f"{folder} is not a folder (guard.playbooks)")
    return [(str(file), file.read_text()) for file in sorted(folder.glob("*.yaml"))]


def _playbook(file: str, text: str, actions: Collection[str]) -> Playbook:
    try:
        playbook = msgspec.convert(yaml.safe_load(text), Playbook)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadPlaybook(f"{file}: {error}") from error
    if not playbook.steps:
        raise BadPlaybook(f"{file}: it has no steps")
    for step in playbook.steps:
        if step.action not in actions:
            raise BadPlaybook(f"{file}: “{step.action}” is no action; {', '.join(sorted(actions))} are")
    for state in playbook.steady_state:
        if state not in STEADY:
            raise BadPlaybook(f"{file}: “{state}” is no steady state; {', '.join(sorted(STEADY))} are")
    return playbook
