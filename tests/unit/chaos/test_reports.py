"""What is told after runs: findings and the incident they open, the score of a service, reports without network."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kt.chaos import report as plain_report
from kt.chaos import report_html
from kt.chaos.findings import findings
from kt.chaos.model import Run, What
from kt.chaos.resilience import scores, standings, withstood
from kt.cli import cli
from kt.stores.sqlite_chaos import SqliteChaosStore
from verify.plain import Plain
from verify.targets import targets

NOW = datetime(2026, 6, 12, 15, 0, tzinfo=UTC)
CONTENT = {"title": "Cart <b>", "description": "Does | it\nhold?", "method": []}


def run(outcome: Any = "held", days_ago: float = 0, **more: Any) -> Run:
    what = What(name="Cart <b>", plain=Plain(text=json.dumps(CONTENT), format="json", source="x.json"))
    at = NOW - timedelta(days=days_ago)
    given = {"targets": ("shop/cart",), "started_at": at, "ended_at": at + timedelta(seconds=60), "outcome": outcome}
    return msgspec.structs.replace(Run(id="r", what=what, due_at=at, claimed_at=at, phase="ended"), **{**given, **more})


def journals(**more: Any) -> dict[str, Any]:
    def entry(name: str, status: str = "succeeded", **about: Any) -> dict[str, Any]:
        return {"activity": {"type": "action", "name": name}, "status": status, "duration": 1.5, **about}

    begun = NOW.timestamp()
    samples = [[begun - 60 + at, 0.01 if at < 60 else 0.3] for at in range(0, 180, 10)]
    return {
        "run": {
            "steady_states": {"before": {"steady_state_met": True, "probes": []},
                              "after": {"steady_state_met": False, "probes": [entry("errors", output=0.3)]}},
            "run": [entry("end a pod"), entry("look", "failed", exception=["Traceback", "ValueError: <script>"])],
            "rollbacks": [entry("undo")],
        },
        "series": {"from": begun, "to": begun + 60, "charts": [
            {"service": "shop/cart", "about": "share of failed requests", "query": "q", "samples": samples}]},
        **more,
    }  # fmt: skip


def test_a_weakness_a_passed_limit_and_what_was_left_behind_are_findings() -> None:
    assert findings("held", "fine", "", journals()) == ()
    (weakness,) = findings("regressed", "errors (0.3)", "", journals())
    assert (weakness.kind, weakness.text) == ("weakness", "errors (0.3)")
    (limit,) = findings("aborted", "x", "a stop condition is met", journals())
    assert limit.kind == "limit"
    broken = journals()
    broken["run"]["rollbacks"][0]["status"] = "failed"
    (left,) = findings("inconclusive", "x", "", broken)
    assert (left.kind, "undo" in left.text) == ("left behind", True)
    taken_back = broken | {"undo": {"rollbacks": [{"status": "succeeded"}]}}
    assert findings("aborted", "its runner died", "", taken_back) == ()
    assert [each.kind for each in findings("aborted", "a person has to look", "", {})] == ["left behind"]
    assert findings("refused", "a person has to look", "", {}) == ()


def test_only_what_was_shown_counts_for_a_score() -> None:
    assert [withstood(run(outcome)) for outcome in ("held", "regressed", "inconclusive", "aborted", "refused")] == [
        True, False, None, None, None,
    ]  # fmt: skip
    assert withstood(run("aborted", breach="a limit")) is False
    dry = run()
    assert withstood(msgspec.structs.replace(dry, what=msgspec.structs.replace(dry.what, dry="actions"))) is None
    (score,) = scores([run("held"), run("inconclusive")], NOW)
    assert (score.service, score.attacks, score.held, score.score) == ("shop/cart", 1, 1, 66.7)
    assert scores([run("refused", started_at=None)], NOW) == []


def test_a_score_tells_its_trend_and_forgets_slowly() -> None:
    (better,) = scores([run("regressed", 60), run("held", 10), run("held", 5), run("held", 1)], NOW)
    assert (better.trend, better.score > better.before) == ("better", True)
    (worse,) = scores([run("held", 60), run("held", 50), run("regressed", 2)], NOW)
    assert worse.trend == "worse"
    assert [at for at, _ in worse.history] == sorted(at for at, _ in worse.history)
    old, new = scores([run("regressed", 90)], NOW)[0].score, scores([run("regressed", 0)], NOW)[0].score
    assert 50 > old > new


attacks = st.lists(st.tuples(st.sampled_from(["held", "regressed"]), st.floats(0, 300)), min_size=1, max_size=20)


@given(attacks)
def test_a_score_is_between_0_and_100_and_one_more_attack_that_held_never_lowers_it(given_: list[Any]) -> None:
    runs = [run(outcome, days) for outcome, days in given_]
    (before,) = scores(runs, NOW)
    (after,) = scores([*runs, run("held", 0)], NOW)
    assert 0 < before.score < 100
    assert after.score >= before.score


def test_the_report_of_a_run_says_what_was_done_and_found_in_markdown() -> None:
    found = plain_report.report_of(run("regressed", why="errors | (0.3)"), journals())
    text = plain_report.markdown(found)
    assert "# Cart &lt;b>: regressed" in text
    assert "- **weakness**: errors | (0.3)" in text
    assert "| method | action look | failed | 1.5 | ValueError: &lt;script> |" in text
    assert "Steady state before: met; after: not met." in text
    assert "| shop/cart: share of failed requests | 0.01 | 0.3 | 0.3 |" in text
    assert "| steady state after | action errors | outside its tolerance | 1.5 | 0.3 |" in text


def test_the_html_is_one_well_formed_page_with_charts_and_nothing_from_elsewhere() -> None:
    found = plain_report.report_of(run("regressed", why="errors"), journals())
    page = report_html.page(found)
    body = ElementTree.fromstring(page[page.index("<body>") : page.index("</html>")])
    (line,) = body.iter("polyline")
    assert len(line.attrib["points"].split()) == 18
    (shade,) = body.iter("rect")
    assert 0 < float(shade.attrib["width"]) < report_html.WIDTH
    assert "<script" not in page
    assert "http" not in page
    assert "Prometheus recorded nothing" in report_html.page(plain_report.report_of(run(), {}))


def test_the_page_of_all_runs_shows_scores_with_their_course() -> None:
    runs = [run("held", 3), run("regressed", 1, why="lost it", id="bad")]
    scored = scores(runs, NOW)
    page = report_html.overview(runs, scored, NOW)
    body = ElementTree.fromstring(page[page.index("<body>") : page.index("</html>")])
    assert len(list(body.iter("circle"))) == 2
    text = plain_report.overview(runs, scored, NOW)
    assert "| shop/cart | 49 | steady (-1 in 30 days) | 2 | 1 |" in text
    assert "(`bad`): lost it" in text
    assert "2 runs: 1 held, 1 regressed." in text
    assert "No service has been attacked yet." in plain_report.overview([], [], NOW)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"ns": "shop", "label_selector": "app=cart,tier=x"}, ("shop/cart",)),
        ({"namespace": "shop", "service": "front", "name": "kt-chaos-cut"}, ("shop/front",)),
        ({"namespace": "${where}", "name": "cart"}, ("shop/cart",)),
        ({"namespace": "shop", "name": "kt-chaos-cut", "to": {"app": "cart"}}, ("shop/cart",)),
        ({"namespace": "shop", "name": "kt-chaos-cpu"}, ()),
        ({"name": "cart"}, ()),
        ({"ns": "shop", "label_selector": "broken"}, ()),
    ],
)
def test_what_an_experiment_is_about_comes_from_its_actions(arguments: dict[str, Any], found: tuple[str, ...]) -> None:
    provider = {"type": "python", "module": "m", "func": "f", "arguments": arguments}
    action = {"type": "action", "name": "a", "provider": provider}
    experiment: dict[str, Any] = {"configuration": {"where": "shop"}, "method": [action, {"ref": "other"}]}
    assert targets(experiment, {}, {}) == found
    named = experiment | {"extensions": [{"name": "kt", "targets": ["Deployment/shop/own"]}]}
    assert targets(named, {}, {}) == ("shop/own",)


def test_each_run_is_told_with_the_resilience_that_it_left() -> None:
    runs = [run("held", 40, id="a"), run("regressed", 1, id="b"), run("inconclusive", 0, id="c")]
    left = standings(runs)
    assert sorted(left) == ["a", "b"]
    (first,), (second,) = left["a"], left["b"]
    assert (first.score, first.change, first.trend) == (66.7, 16.7, "better")
    assert second.change < 0
    assert second.trend == "worse"
    (score,) = scores(runs, NOW)
    assert [each for _, each in score.history] == [first.score, second.score]


@given(attacks)
def test_the_score_is_that_of_a_sum_over_all_attacks(given_: list[Any]) -> None:
    runs = [run(outcome, days, id=str(number)) for number, (outcome, days) in enumerate(given_)]
    weights = [(2 ** -(days / 30), outcome == "held") for outcome, days in given_]
    held, whole = sum(weight for weight, stood in weights if stood), sum(weight for weight, _ in weights)
    (score,) = scores(runs, NOW)
    assert score.score == pytest.approx(100 * (1 + held) / (2 + whole), abs=0.06)


@pytest.mark.parametrize(("form", "ending"), [("html", "html"), ("markdown", "md")])
def test_pages_of_all_runs_lead_to_each_and_back(tmp_path: Path, form: str, ending: str) -> None:
    store = SqliteChaosStore(tmp_path / "kt.db")
    for id_, outcome in (("one", "held"), ("two", "regressed")):
        store.commit(run(outcome, id=id_))
        store.keep(id_, "run", journals()["run"])
    environment, folder = {"KT_DATA_DIR": str(tmp_path), "NO_COLOR": "1"}, tmp_path / "pages"
    asked = ["chaos", "report", "--format", form, "-o", str(folder)]
    answer = CliRunner().invoke(cli, asked, env=environment, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    index = (folder / f"index.{ending}").read_text()
    for id_ in ("one", "two"):
        assert f"runs/{id_}.{ending}" in index
        assert f"../index.{ending}" in (folder / "runs" / f"{id_}.{ending}").read_text()
    assert "shop/cart 67 (+17)" in index
    refused = CliRunner().invoke(cli, ["chaos", "report", "one", "-o", str(folder)], env=environment)
    assert (refused.exit_code, "folder" in refused.output) == (2, True)


def test_the_history_has_the_score_of_each_service_and_where_it_is_going(tmp_path: Path) -> None:
    store = SqliteChaosStore(tmp_path / "kt.db")
    now = datetime.now(UTC)
    for id_, outcome, at in (("one", "held", now - timedelta(days=2)), ("two", "held", now - timedelta(days=1))):
        store.commit(run(outcome, id=id_, started_at=at, due_at=at, claimed_at=at))
    environment = {"KT_DATA_DIR": str(tmp_path), "NO_COLOR": "1"}
    answer = CliRunner().invoke(cli, ["chaos", "history"], env=environment, catch_exceptions=False)
    assert "shop/cart 67 (+17)" in answer.output
    assert re.search(r"shop/cart +7\d  better +\+2\d in 30 days  held 2 of 2  [▁-█]{2}\n", answer.output)
    told = json.loads(CliRunner().invoke(cli, ["chaos", "history", "--json"], env=environment).output)
    assert [each["resilience"][0]["trend"] for each in told] == ["better", "better"]
