"""What the log of an incident teaches: a fix that held, a person's word, and the one above the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from diagnose.learning import Counts, usable
from graph_schema.model import Entity, Subgraph
from graph_schema.ontology import load_ontology
from kt.incident.basis import Basis, pack
from kt.incident.events import Confirmed, Event, Healed, Verified
from kt.incident.log import Append
from kt.learned import learn_from
from kt.pipeline.journey import Journey
from kt.stores.sqlite_learned import SqliteLearned
from kt.stores.sqlite_log import SqliteIncidentLog
from tests.unit.incident.test_state import CAUSE, FINISHED, STARTED, at, diagnosed, proposed, received, signal
from verify.verdict import Verdict

ONTOLOGY = load_ontology()
PIECE = Subgraph({CAUSE.entity: Entity(id=CAUSE.entity, kind="Deployment", name="cart", namespace="shop")}, ())
BASIS = Basis(now=at(1), piece=PIECE, alerts=(signal(),))
TRIED: tuple[Event, ...] = (received(), diagnosed(), proposed(0), STARTED, FINISHED)
HELD = Verified(at=at(9), verdict=Verdict(outcome="held", why="it held"))
HEALED = Healed(at=at(10), why="it held")


def said(entity: str, fault: str) -> Confirmed:
    return Confirmed(at=at(20), entity=entity, kind=entity.split("/")[0], fault=fault, by="ada")


class Site:
    def __init__(self, folder: Path) -> None:
        self.log, self.learned = SqliteIncidentLog(folder / "kt.db"), SqliteLearned(folder / "kt.db")

    def lived(self, *events: Event) -> bool:
        expected = len(self.log.load("i1"))
        self.log.commit([Append(incident="i1", expected=expected, events=events)])
        return self.again()

    def again(self) -> bool:
        return learn_from(Journey(self.log, "i1").records, self.learned, ONTOLOGY)

    def causes(self) -> dict[str, int]:
        known = usable(self.learned.counts(), "all")
        return {key.split("|")[1]: count for key, count in known.items() if key.startswith("cause|")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_fix_that_was_attacked_and_held_teaches_its_cause_once(site: Site) -> None:
    assert site.lived(*TRIED, HELD, HEALED)
    assert not site.again()
    assert site.causes() == {CAUSE.fault: 1}
    assert f"remedy|{CAUSE.fault}|rollback|held" in site.learned.counts().seen


@pytest.mark.parametrize(
    "events",
    [
        (*TRIED, Healed(at=at(6), why="ended by itself")),
        (received(), diagnosed(), HEALED),
        (*TRIED, Verified(at=at(9), verdict=Verdict(outcome="inconclusive", why="x")), HEALED),
        TRIED,
    ],
)
def test_what_was_not_attacked_or_did_not_hold_teaches_nothing(site: Site, events: tuple[Event, ...]) -> None:
    assert not site.lived(*events)
    assert site.learned.counts() == Counts()


def test_a_persons_last_word_takes_back_all_that_was_believed_before(site: Site) -> None:
    site.lived(*TRIED, HELD, HEALED)
    site.lived(said("Node/n1", "Node.NotReady"))
    assert site.causes() == {"Node.NotReady": 1}
    site.lived(said(CAUSE.entity, "Workload.Overload"))
    assert site.causes() == {"Workload.Overload": 1}
    assert not site.again()


def test_a_crash_between_two_words_loses_and_doubles_nothing(site: Site) -> None:
    """Nobody learned while these came in; one look at the end teaches what three looks would have."""
    site.lived(*TRIED, HELD, HEALED, said("Node/n1", "Node.NotReady"), said(CAUSE.entity, "Workload.Overload"))
    assert site.causes() == {"Workload.Overload": 1}


def test_what_was_near_is_counted_with_the_cause(site: Site) -> None:
    events = [received(), diagnosed(), *TRIED[2:], HELD, HEALED]
    kept = type(diagnosed())(at=at(1), diagnosis=diagnosed().diagnosis, basis=pack(BASIS))
    site.lived(events[0], kept, *events[2:])
    assert usable(site.learned.counts(), "all")[f"near|{CAUSE.fault}|Deployment"] == 1
