"""A module such as users keep beside their experiments."""

import time
from pathlib import Path


def knows(secrets: dict[str, str] | None = None) -> bool:
    return bool(secrets and secrets.get("password") == "open sesame")


def count(to: int = 3) -> int:
    return sum(1 for _ in range(to))


def wait(file: str, seconds: float = 60.0) -> None:
    with Path(file).open("a") as disturbed:
        disturbed.write("disturbed\n")
    time.sleep(seconds)
