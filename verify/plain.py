"""Plain Chaos Toolkit experiments, from any author: read, told apart from broken ones, never changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

Experiment = dict[str, Any]
FORMATS: dict[str, Literal["json", "yaml"]] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
VALIDATION_S = 60.0
NAMESPACE_ARGUMENTS = ("ns", "namespace", "namespaces")
"""How actions call the namespace that they act in; `ns` in chaostoolkit-kubernetes."""
DEFAULT_NAMESPACE = "default"
"""Where an action of chaostoolkit-kubernetes acts when it names none."""
CLUSTER_WIDE = ("chaosk8s.node.", "chaosk8s.chaosmesh.")
ON_THE_MACHINE = frozenset(
    {"expire_certificate", "fail_dns", "fill_volume", "freeze_process", "replace_file", "slow_api_server"}
)
"""Actions of `verify.actions` that disturb the machine where the experiment runs."""
CLUSTER_KINDS = ("Node", "Namespace", "PersistentVolume")
"""As the `kind` that an action changes: what belongs to no namespace."""


class BadExperiment(Exception):
    """It cannot be run; the message names the file and the reason."""


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment exactly as its author wrote it."""

    text: str
    format: Literal["json", "yaml"]
    source: str
    """The file it came from, for messages."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment says it acts on."""

    namespaces: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Actions whose namespace is known only once they run."""
    cluster_wide: tuple[str, ...] = ()
    """Actions on nodes, which belong to no namespace."""


def read(path: Path) -> Plain:
    """The experiment of a file. Raises `BadExperiment`."""
    format_ = FORMATS.get(path.suffix.lower())
    if format_ is None:
        raise BadExperiment(f"{path}: an experiment is a file that ends with .json, .yaml or .yml")
    try:
        # Bytes first: reading text would turn the line ends of another system into those of this one.
        plain = Plain(text=path.read_bytes().decode(), format=format_, source=str(path))
    except OSError as error:
        raise BadExperiment(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadExperiment(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    parse(plain)
    return plain


def parse(plain: Plain) -> Experiment:
    """Its content, in the shape that everything after relies on. Raises `BadExperiment`."""
    try:
        content = json.loads(plain.text) if plain.format == "json" else yaml.safe_load(plain.text)
    except json.JSONDecodeError as error:
        raise BadExperiment(f"{plain.source}:{error.lineno}:{error.colno} is not JSON: {error.msg}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{plain.source}:{mark.line + 1}:{mark.column + 1}" if mark else plain.source
        raise BadExperiment(f"{where} is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BadExperiment(f"{plain.source} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadExperiment(f"{plain.source}: an experiment is a mapping with a title, a description and a method")
    for name in ("method", "rollbacks"):
        each = content.get(name, [])
        if not isinstance(each, list) or not all(isinstance(activity, dict) for activity in each):
            raise BadExperiment(f"{plain.source}: {name} must be a list of activities")
    for name in ("configuration", "secrets", "steady-state-hypothesis"):
        if not isinstance(content.get(name, {}), dict):
            raise BadExperiment(f"{plain.source}: {name} must be a mapping")
    return content


def validate(plain: Plain, *, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Ask Chaos Toolkit's own validator, in a process of its own. Raises `BadExperiment` with its reason.

    `folder`: where relative paths and modules of the experiment are looked up; None: an empty one.
    """
    with tempfile.TemporaryDirectory(prefix="kt-validate-") as workdir:
        file = Path(workdir) / f"experiment.{plain.format}"
        file.write_bytes(plain.text.encode())
        command = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--no-log-file", "--log-format", "json"]
        try:
            answer = subprocess.run(
                [*command, "validate", str(file)],
                cwd=folder or workdir,
                env=surroundings(environment or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=VALIDATION_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BadExperiment(f"{plain.source}: its validation took longer than {VALIDATION_S:.0f} s") from error
    if answer.returncode:
        raise BadExperiment(f"{plain.source}: {reason((answer.stdout + answer.stderr).decode(errors='replace'))}")


def variables(given: Sequence[str]) -> dict[str, Any]:
    """The values of `KEY=VALUE` or `KEY:TYPE=VALUE`, as `chaos run --var` reads them. Raises `BadExperiment`."""
    if not given:
        return {}
    from chaoslib import convert_vars  # loads much; only experiments with variables pay for it

    try:
        found: dict[str, Any] = convert_vars(list(given))
    except ValueError as error:
        raise BadExperiment(f"{' '.join(given)}: a variable is KEY=VALUE or KEY:TYPE=VALUE: {error}") from error
    return found


def reason(output: str) -> str:
    """Why Chaos Toolkit ended with an error, from its log as JSON lines."""
    errors, last = [], ""
    for line in output.splitlines():
        last = line.strip() or last
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("levelname") in ("ERROR", "CRITICAL"):
            errors.append(str(said.get("message", "")))
    return errors[-1] if errors else f"Chaos Toolkit stumbled over it: {last[-400:] or 'without a word'}"


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of Chaos Toolkit: that of this one without KT's own settings and their secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KT_")} | dict(environment)


def dump(experiment: Mapping[str, Any]) -> str:
    """An experiment as YAML that reads back as it was."""
    text: str = yaml.safe_dump(dict(experiment), allow_unicode=True, sort_keys=False)
    return text


def undoing(experiment: Mapping[str, Any]) -> Experiment | None:
    """The experiment that runs nothing but the rollbacks of this one; None when it has none."""
    rollbacks = experiment.get("rollbacks") or []
    if not rollbacks:
        return None
    named = {each.get("name"): each for each in _activities(experiment)}
    kept = ("version", "configuration", "secrets", "controls", "extensions", "runtime")
    return {
        **{name: experiment[name] for name in kept if name in experiment},
        "title": f"Undo: {experiment.get('title', '')}",
        "description": "The rollbacks of a run whose process ended before it had run them.",
        "method": [],
        # A rollback may refer to an activity of the method, which is not here.
        "rollbacks": [named.get(each["ref"], each) if "ref" in each else each for each in rollbacks],
    }


def scope(experiment: Mapping[str, Any], variables: Mapping[str, Any], environ: Mapping[str, str]) -> Scope:
    """What its actions name: their namespaces, with the variables of its configuration filled in."""
    known = configuration(experiment, variables, environ)
    namespaces: set[str] = set()
    unknown: list[str] = []
    cluster_wide: list[str] = []
    for activity in _activities(experiment):
        provider = activity.get("provider")
        if activity.get("type") != "action" or not isinstance(provider, dict):
            continue
        module, name = str(provider.get("module", "")), str(activity.get("name", "unnamed"))
        arguments = provider.get("arguments")
        given = (
            [arguments[key] for key in NAMESPACE_ARGUMENTS if arguments.get(key)] if isinstance(arguments, dict) else []
        )
        on = arguments.get("kind") if isinstance(arguments, dict) else None
        here = module.startswith("verify.actions") and provider.get("func") in ON_THE_MACHINE
        if module.startswith(CLUSTER_WIDE) or on in CLUSTER_KINDS or here:
            cluster_wide.append(name)
        elif module.startswith("chaosk8s.") and not given:
            given = [DEFAULT_NAMESPACE]
        for value in [one for each in given for one in (each if isinstance(each, list) else [each])]:
            filled = _filled(value, known)
            if filled is None:
                unknown.append(name)
            else:
                namespaces.add(filled)
    return Scope(
        namespaces=tuple(sorted(namespaces)),
        unknown=tuple(dict.fromkeys(unknown)),
        cluster_wide=tuple(dict.fromkeys(cluster_wide)),
    )


def _activities(experiment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    hypothesis = experiment.get("steady-state-hypothesis") or {}
    for each in (hypothesis.get("probes"), experiment.get("method"), experiment.get("rollbacks")):
        yield from (activity for activity in each or () if isinstance(activity, dict))


def configuration(
    experiment: Mapping[str, Any], variables: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, Any]:
    """The values known before a run; what a probe will tell is left out."""
    known: dict[str, Any] = {}
    for name, value in (experiment.get("configuration") or {}).items():
        if isinstance(value, dict) and value.get("type") == "env":
            found = environ.get(str(value.get("key")), value.get("default"))
            if found is not None:
                known[name] = found
        elif not (isinstance(value, dict) and "type" in value):
            known[name] = value
    return known | dict(variables)


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """The value (text, list or mapping) with its `${variables}` filled in, as Chaos Toolkit does it."""
    from chaoslib import substitute  # loads much; only runs that name a namespace pay for it

    return substitute(value, dict(known), {})


def _filled(value: Any, known: Mapping[str, Any]) -> str | None:
    """None when a variable is not known."""
    text = str(filled(value, known)) if isinstance(value, str) and "${" in value else str(value)
    return None if "${" in text else text
