"""What operators set: a TOML file, overridden by environment variables, checked before anything starts.

`KT_SECTION__KEY` overrides `key` of `[section]`, `KT_KEY` a key at the top. With `_FILE` behind it the variable names a
file that holds the value, as container platforms hand out secrets. Unknown keys are errors: a typo in a limit must not
silently mean no limit.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kt.sections import (
    Alertmanager,
    Approval,
    Chaos,
    Diagnose,
    Guard,
    Kubernetes,
    Metrics,
    Notify,
    Pipeline,
    Prometheus,
    Section,
    Sense,
    Store,
    Web,
)

PREFIX = "KT_"
NOT_SETTINGS = ("TESTBED", "TEST_", "OPERATOR_TOKEN", "PETSHOP")
"""KT_CONFIG names the file itself; KT_OPERATOR_TOKEN is a person's, not the installation's; KT_TESTBED, KT_TESTBED_*
and KT_TEST_* belong to the tests, KT_PETSHOP to a benchmark."""
FILE = "_FILE"


class BadSettings(Exception):
    """Settings are wrong; the message says where, what, and what to do."""


class Settings(Section, frozen=True):
    data_dir: str = "kt-data"
    """Folder of the SQLite files and of the journals of experiments."""
    broker_url: str = "redis://localhost:6379/0"
    """Where Celery's tasks go; it may be emptied at any time without loss."""
    store: Store = Store()
    web: Web = Web()
    metrics: Metrics = Metrics()
    kubernetes: Kubernetes = Kubernetes()
    prometheus: Prometheus = Prometheus()
    alertmanager: Alertmanager = Alertmanager()
    sense: Sense = Sense()
    diagnose: Diagnose = Diagnose()
    guard: Guard = Guard()
    approval: Approval = Approval()
    pipeline: Pipeline = Pipeline()
    chaos: Chaos = Chaos()
    notify: Notify = Notify()

    @property
    def data(self) -> Path:
        return Path(self.data_dir)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings of a file (`path`, else KT_CONFIG, else none) under those of the environment. Raises `BadSettings`."""
    given = settings_file(path, environ)
    values = _read(given) if given else {}
    if given:
        _convert(values, given)
    _override(values, environ)
    return _convert(values, "the environment")


def settings_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that settings come from, if they come from one."""
    return path or (Path(environ["KT_CONFIG"]) if environ.get("KT_CONFIG") else None)


def _convert(values: dict[str, Any], where: str | Path) -> Settings:
    try:
        # Not strict: values of the environment are text.
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        place = f"{where}:{_line(where, str(error))}" if isinstance(where, Path) else where
        raise BadSettings(f"{place}: {error}. `kt doctor --settings` lists every key with its meaning.") from error


def _line(file: Path, message: str) -> int:
    from graph_schema.located import path_of  # only who made a mistake needs these
    from kt.toml_lines import line_of

    return line_of(file.read_text(), path_of(message))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not TOML: {error}") from error


def _override(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if not variable.startswith(PREFIX) or name == "CONFIG" or name.startswith(NOT_SETTINGS):
            continue
        value = environ[variable]
        if name.endswith(FILE):
            plain = variable.removesuffix(FILE)
            if plain in environ:
                raise BadSettings(f"{plain} and {variable} are both set; keep one of them")
            name, value = name.removesuffix(FILE), _held(variable, value)
        section, _, key = name.lower().partition("__")
        if not key:
            values[section] = value
        elif isinstance(values.setdefault(section, {}), dict):
            values[section][key] = value
        else:
            raise BadSettings(f"{variable}: “{section}” is not a section")


def _held(variable: str, path: str) -> str:
    """The value in a file, without the newline at its end. Empty is an error: an empty token would ask for none."""
    try:
        value = Path(path).read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadSettings(f"{variable}: the file “{path}” cannot be read: {reason or error}") from error
    if not value:
        raise BadSettings(f"{variable}: the file “{path}” is empty; put the value in it, or unset the variable")
    return value
