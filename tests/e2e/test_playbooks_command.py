"""`kt playbooks try` and `show`, as a person runs them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kt.cli import cli
from kt.stores.sqlite_trials import SqliteTrials
from remediate.trials import Trial
from twin.server import Twin

CART = "Deployment/shop/cart"


def kt(folder: Path, *words: str, **environ: str) -> Result:
    env = {"KT_DATA_DIR": str(folder / "data"), **environ}
    return CliRunner().invoke(cli, ["playbooks", *words], env=env)


def test_trying_dry_shows_the_diff_and_what_the_guard_says_and_changes_nothing(tmp_path: Path) -> None:
    twin = Twin().start()
    try:
        before = twin.cluster.store.get("Deployment", "cart", "shop")["spec"]
        there = {"KT_KUBERNETES__KUBECONFIG": str(twin.kubeconfig)}
        answer = kt(tmp_path, "try", "scale-out", CART, **there)
        assert answer.exit_code == 0, answer.output
        for said in (
            "from 2 to 4 replicas",
            "-  replicas: 2",
            "+  replicas: 4",
            "forecast: all 2 new pods fit",
            "guard",
        ):
            assert said in answer.output
        assert twin.cluster.store.get("Deployment", "cart", "shop")["spec"] == before
        for words, says in ((("try", "scale-out", "Node/kt-node-1"), "is not made for a Node"),
                            (("try", "wake", CART), "not sent to sleep"),
                            (("try", "rollback", "Deployment/shop/none"), "is not in the cluster")):  # fmt: skip
            refused = kt(tmp_path, *words, **there)
            assert (refused.exit_code, says in refused.output) == (1, True), refused.output
    finally:
        twin.stop()


def test_trying_on_the_twin_does_it_and_takes_it_back(tmp_path: Path) -> None:
    answer = kt(tmp_path, "try", "rollback", CART, "--twin", "--fault", "bad-rollout", "--json")
    assert answer.exit_code == 0, answer.output
    told: dict[str, Any] = json.loads(answer.output)
    assert "shop:bad" in told["steps"][0]["diff"]
    assert told["tried"][0]["done"] == "shop:bad → shop:v1"
    assert told["tried"][0]["undone"] == "back to shop:bad"
    assert "settled" not in told["tried"][0]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [(("nonesuch", CART, "--twin"), "there is no playbook"), (("restart", CART, "--fault", "x"), "add --twin"),
     (("restart", CART, "--twin", "--fault", "x"), "is no fault of the twin")],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    answer = kt(tmp_path, "try", *words)
    assert (answer.exit_code, says in answer.output) == (2, True), answer.output


def test_showing_one_tells_its_record_for_each_fault_with_an_interval(tmp_path: Path) -> None:
    assert "never carried out" in kt(tmp_path, "show", "restart").output
    store = SqliteTrials(tmp_path / "data" / "kt.db")
    store.note(
        Trial(
            id=str(number), at=datetime(2026, 3, 1, tzinfo=UTC), playbook="restart", fault="Workload.Stuck",
            target=CART, helped=number < 8, effect_s=20.0 + number,
        )
        for number in range(10)
    )  # fmt: skip
    store.close()
    assert (
        "Workload.Stuck                       helped 8 of 10 times, 49% to 94%"
        in kt(tmp_path, "show", "restart").output
    )
    (record,) = json.loads(kt(tmp_path, "show", "restart", "--json").output)["record"]
    assert (record["fault"], record["helped"], record["tried"], record["share"]) == ("Workload.Stuck", 8, 10, 0.8)
