"""The data files of sense speak the catalogue's language."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_schema.catalogue import load_catalogue
from graph_schema.ontology import load_ontology
from sense import prometheus
from sense.kubernetes import events
from sense.logs import BadLogRules, LogRules
from sense.metrics.rules import BadMetricRules, MetricRules

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)


def test_every_symptom_that_a_rule_gives_is_one_of_the_catalogue() -> None:
    assert MetricRules.load().symptoms <= CATALOGUE.symptoms
    assert LogRules.load().symptoms <= CATALOGUE.symptoms
    assert events.load().symptoms <= CATALOGUE.symptoms


def test_queries_ask_about_known_kinds_by_metrics_with_a_meaning() -> None:
    rules = MetricRules.load()
    for query in prometheus.load():
        meaning = rules.meaning(query.metric)
        assert query.kind in ONTOLOGY.entities
        assert meaning is not None
        assert meaning.symptom != "unknown", query.metric


def test_a_wrong_file_of_rules_is_told_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("rules: [{pattern: '(', symptom: errors, worse: up}]\n")
    with pytest.raises(BadMetricRules, match=r"mine\.yaml"):
        MetricRules.load(file)
    file.write_text("words: 3\n")
    for load, error in ((LogRules.load, BadLogRules), (events.load, events.BadEventRules)):
        with pytest.raises(error, match=r"mine\.yaml"):
            load(file)
    with pytest.raises(prometheus.BadQueries, match="cannot be read"):
        prometheus.load(tmp_path / "none.yaml")
