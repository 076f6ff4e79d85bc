"""Many incidents on a few targets, several workers killed at random: the twin's own write log is the witness."""

from __future__ import annotations

from pathlib import Path

from bench import stress


def test_no_target_has_two_actions_at_once_and_no_cap_is_exceeded_whoever_is_killed(tmp_path: Path) -> None:
    report = stress.run(tmp_path, incidents=24, targets=6, workers=3, seed=1, deadline_s=180)
    assert report.violations == ()
    assert (report.ended, report.incidents) == (24, 24)
    assert report.kills > 0
    assert report.actions > 6, "each target was acted on, some again"
