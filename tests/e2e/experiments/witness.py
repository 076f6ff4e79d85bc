"""A control such as users write: it notes what it saw in the file that the environment names."""

import os
from pathlib import Path
from typing import Any


def before_experiment_control(context: Any, **_: Any) -> None:
    _note(f"begin {context['title']}")


def after_activity_control(context: Any, state: Any = None, **_: Any) -> None:
    _note(f"{context['name']}: {(state or {}).get('status')}")


def _note(line: str) -> None:
    with Path(os.environ["WITNESS"]).open("a") as file:
        file.write(line + "\n")
