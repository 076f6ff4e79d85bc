"""Playbooks as data: which actions, on what, how risky, and what must hold afterwards. Checked when loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from graph_schema.located import path_of
from remediate import parameters

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
    takes_back: tuple[Literal["rollout", "config"], ...] = ()
    """The kinds of change that it takes back: it fits best where the diagnosis blames one of these."""
    cost: Literal["none", "some", "much"] = "none"
    """What it uses up: more replicas or larger ones, a volume."""
    effect_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """How long it usually takes until it helps; what was measured counts more."""


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


def read_playbook(file: Path, actions: Collection[str]) -> Playbook:
    """The playbook of one file. Raises `BadPlaybook` with file, line and reason."""
    return _playbook(str(file), _text(file), actions)


def schema() -> dict[str, Any]:
    """JSON Schema of a playbook file."""
    made = msgspec.json.schema(Playbook)
    made["$defs"]["Playbook"]["properties"]["steady_state"]["items"]["enum"] = sorted(STEADY)
    made["$defs"]["Playbook"]["properties"]["steps"]["minItems"] = 1
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Playbook of KT", **plain}


def _files(folder: Path | None) -> list[tuple[str, str]]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise BadPlaybook(f"{folder} is not a folder (guard.playbooks)")
    return [(str(file), _text(file)) for file in sorted(folder.glob("*.yaml"))]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlaybook(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _playbook(file: str, text: str, actions: Collection[str]) -> Playbook:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadPlaybook(f"{file}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BadPlaybook(f"{file}: not YAML: {error}") from error

    def wrong(what: str, *path: str | int) -> BadPlaybook:
        return BadPlaybook(f"{file}:{_line(node, path)}: {what}")

    try:
        playbook = msgspec.convert(content, Playbook)
    except msgspec.ValidationError as error:
        raise wrong(str(error), *path_of(str(error))) from error
    if not playbook.steps:
        raise wrong("it has no steps", "steps")
    for number, step in enumerate(playbook.steps):
        if step.action not in actions:
            what = f"“{step.action}” is no action; {', '.join(sorted(actions))} are"
            raise wrong(what, "steps", number, "action")
        try:
            parameters.check(step.action, step.parameters)
        except msgspec.ValidationError as error:
            what = f"{step.action}: {error}"
            raise wrong(what, "steps", number, "parameters", *path_of(str(error))) from error
    for number, state in enumerate(playbook.steady_state):
        if state not in STEADY:
            what = f"“{state}” is no steady state; {', '.join(sorted(STEADY))} are"
            raise wrong(what, "steady_state", number)
    return playbook


def _line(node: yaml.Node | None, path: Sequence[str | int]) -> int:
    """The line of the part that `path` leads to, as far as it leads."""
    line = 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        else:
            found = None
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line
