"""Logs as evidence: what is new or much more frequent since the onset, and what is no news."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sense.files import BadFile
from sense.logs import LogRules, read, signals, templates

RULES = LogRules.load()
ONSET = 1000.0


def lines(*given: tuple[float, str], entity: str = "cart") -> list[str]:
    return [json.dumps({"timestamp": at, "entity": entity, "message": text}) for at, text in given]


def evidence(tmp_path: Path, *content: str) -> list[tuple[str, str, str]]:
    file = tmp_path / "logs.jsonl"
    file.write_text("\n".join(content))
    found = templates(read(file, RULES), ONSET, before_s=900, after_s=900)
    return [(each.entity, each.symptom, each.annotations["summary"]) for each in signals(found, RULES)]


def every(seconds: float, start: float, end: float, text: str) -> list[str]:
    count = int((end - start) / seconds)
    return lines(*((start + number * seconds, text.format(number)) for number in range(count)))


def test_a_trouble_that_was_never_there_before_is_evidence(tmp_path: Path) -> None:
    usual = every(10, 200, 1900, "GET /items/{} took 5 ms status 200")
    new = every(30, 1010, 1900, "cannot connect to db-{}: connection refused")
    [(entity, symptom, summary)] = evidence(tmp_path, *usual, *new)
    assert (entity, symptom) == ("cart", "unavailable")
    assert "cannot connect to db-<*>: connection refused" in summary
    assert "never before" in summary


def test_a_trouble_that_was_always_there_is_no_news(tmp_path: Path) -> None:
    assert evidence(tmp_path, *every(30, 100, 1900, "ERROR cannot read cache entry {}")) == []


def test_a_surge_of_a_known_trouble_is_evidence(tmp_path: Path) -> None:
    before, after = every(60, 100, 1000, "ERROR timeout of call {}"), every(3, 1000, 1900, "ERROR timeout of call {}")
    [(_, symptom, summary)] = evidence(tmp_path, *before, *after)
    assert symptom == "latency"
    assert "300 times since the onset, 15 times before" in summary


def test_one_more_burst_of_what_comes_in_bursts_is_no_news(tmp_path: Path) -> None:
    chance, at, usual = random.Random(3), 110.0, every(10, 100, 1100, "ok {}")
    while (at := at + chance.expovariate(1 / 90)) < 995:
        usual += lines(*((at + extra / 10, "ERROR cache failed") for extra in range(chance.randint(1, 29))))
    again = lines(*((1020 + extra / 10, "ERROR cache failed") for extra in range(30)))
    assert evidence(tmp_path, *usual, *again) == []
    lasting = every(0.1, 1000, 1060, "ERROR cache failed")
    assert [entity for entity, _, _ in evidence(tmp_path, *usual, *lasting)] == ["cart"]


def test_one_single_line_is_not_enough(tmp_path: Path) -> None:
    assert evidence(tmp_path, *every(10, 200, 1900, "ok {}"), *lines((1100.0, "ERROR boom"))) == []


def test_neither_order_nor_repetition_matters(tmp_path: Path) -> None:
    content = [
        *every(10, 200, 1900, "GET /items/{} took 5 ms"),
        *every(20, 1000, 1900, "ERROR code {} of store failed"),
        *every(25, 1000, 1900, "ERROR store {} of shop failed"),
        *every(40, 300, 1900, "WARN pool exhausted, {} waiting"),
    ]
    shuffled = [*content, *content[::3]]
    random.Random(7).shuffle(shuffled)
    assert evidence(tmp_path, *shuffled) == evidence(tmp_path, *content) != []


@pytest.mark.parametrize(
    ("text", "symptom"),
    [
        ("container killed: Out of memory", "oom_killed"),
        ("write /data: no space left on device", "volume_full"),
        ("lookup store.shop: no such host", "dns_failure"),
        ("context deadline exceeded", "latency"),
        ("connection pool exhausted", "saturation"),
        ("ERROR GET /: 503 queue is full", "saturation"),
        ("panic: index out of range", "errors"),
    ],
)
def test_the_words_of_a_line_tell_the_symptom(text: str, symptom: str) -> None:
    assert RULES.trouble(text)
    assert RULES.symptom(text) == symptom


def test_an_access_line_is_trouble_only_with_a_status_of_500_and_more() -> None:
    assert RULES.trouble('"GET /items/500 HTTP/1.1" 503 12')
    assert RULES.trouble("took 3 ms status=502")
    assert not RULES.trouble("GET /items/500 took 512 ms status 200")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ('{"entity": "a", "message": "b"}', "timestamp"),
        ('{"timestamp": "soon", "entity": "a", "message": "b"}', "“soon”"),
        ('{"timestamp": 1, "entity": 2, "message": "b"}', "$.entity"),
    ],
)
def test_a_broken_line_is_told_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "logs.jsonl"
    file.write_text("\n".join([*lines((1.0, "fine")), "", line]))
    with pytest.raises(BadFile) as told:
        read(file, RULES)
    assert str(told.value).startswith(f"{file}:3: ")
    assert says in str(told.value)
