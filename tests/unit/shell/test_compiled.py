"""Whoever runs KT can see whether its diagnosis is the fast one."""

from __future__ import annotations

from pathlib import Path

import pytest

from kt.checks import diagnosis
from kt.runtime import Runtime
from kt.settings import load


def test_doctor_says_whether_the_loops_of_the_diagnosis_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(load(None, {"KT_DATA_DIR": str(tmp_path)}))
    monkeypatch.setattr("kt.checks.BUILT", True)
    assert diagnosis(runtime).state == "well"
    monkeypatch.setattr("kt.checks.BUILT", False)
    monkeypatch.setattr("kt.checks.LACKING", "No module named 'diagnose.loops.search'")
    found = diagnosis(runtime)
    assert (found.state, "No module named" in found.detail) == ("odd", True)
    assert "C compiler" in found.fix
