"""A twin of each test's own, and one incident on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.pipeline.desk import Desk
from twin.server import Twin


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    twin = Twin(speed=20).start()
    desk = Desk(tmp_path, twin)
    yield desk
    if desk._runtime is not None:
        desk._runtime.close()
    twin.stop()
