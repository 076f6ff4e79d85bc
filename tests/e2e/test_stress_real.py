"""Many incidents on a few targets, on a real API server and a real Redis, with Celery workers that are killed: the API
server's audit log is the witness."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import stress_real
from bench.stress_judged import Caps
from testbed import Missing
from tests.conftest import missing

# In the lane of those that start a control plane of their own: there is one place for it.
pytestmark = [pytest.mark.real("control plane", "redis"), pytest.mark.xdist_group("rights")]
CAPS = Caps(per_target=2)
"""So low that 20 incidents come up against it."""


def test_by_a_real_api_servers_word_no_target_has_two_actions_at_once_and_no_cap_is_exceeded(tmp_path: Path) -> None:
    try:
        report = stress_real.run(tmp_path, incidents=20, targets=8, workers=2, seed=1, deadline_s=240, caps=CAPS)
    except Missing as error:
        missing(str(error))
    assert report.violations == ()
    assert (report.ended, report.incidents) == (20, 20)
    assert report.kills >= 3
    assert report.actions >= 8
