"""The main job on the embedded default: each fault of the twin is found, repaired, attacked and healed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CAUSES = {
    "bad-rollout": ("Deployment/shop/cart", "Workload.BadRevision"),
    "overload": ("Deployment/shop/catalogue", "Workload.Overload"),
    "node-down": ("Node/kt-node-", "Node.NotReady"),
}


@pytest.mark.parametrize("fault", sorted(CAUSES))
def test_the_fault_is_healed_and_its_cause_named(fault: str) -> None:
    command = [sys.executable, "-c", "from kt.cli import main; main()", "demo", "--json", "--fault", fault]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    entity, mode = CAUSES[fault]
    assert found["healed"] is True
    assert found["verdict"] == "held"
    assert found["cause"]["fault"] == mode
    assert found["cause"]["entity"].startswith(entity)


def test_a_fault_that_is_not_known_is_told() -> None:
    command = [sys.executable, "-c", "from kt.cli import main; main()", "demo", "--fault", "earthquake"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert "bad-rollout" in answer.stderr
