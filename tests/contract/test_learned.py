"""What every store of learned counts promises, run against each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diagnose.learning import Counts, merge
from kt.incident.log import LogUnavailable
from kt.learned import Learned
from kt.stores.neo4j_learned import Neo4jLearned
from kt.stores.sqlite_learned import SqliteLearned

CAUSE = "cause|Workload.Overload"


@pytest.fixture(params=["sqlite", "neo4j"])
def learned(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Learned]:
    store: Learned
    if request.param == "neo4j":
        place = request.getfixturevalue("empty_neo4j")
        store = Neo4jLearned(place.uri, place.auth)
    else:
        store = SqliteLearned(tmp_path / "kt.db")
    yield store
    store.close()


def test_a_site_has_one_name_for_ever(learned: Learned) -> None:
    assert learned.site() == learned.site() != ""


def test_a_claim_teaches_once_also_when_several_make_it_at_the_same_time(learned: Learned) -> None:
    def learn(_: int) -> bool:
        return learned.learn("i:healed", {CAUSE: 1}, {})

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(learn, range(8))) == 1
    assert learned.counts() == Counts(seen={CAUSE: {learned.site(): 1}})
    assert learned.claimed(["i:healed", "other"]) == {"i:healed"}


def test_what_is_taken_back_is_counted_beside(learned: Learned) -> None:
    learned.learn("i:healed", {CAUSE: 1}, {})
    learned.learn("i:confirmed:1", {"cause|Node.NotReady": 1}, {CAUSE: 1})
    here = learned.site()
    assert learned.counts() == Counts(
        seen={CAUSE: {here: 1}, "cause|Node.NotReady": {here: 1}}, forgotten={CAUSE: {here: 1}}
    )


def test_merging_is_that_of_the_counters(learned: Learned) -> None:
    learned.learn("i:healed", {CAUSE: 2}, {})
    mine = learned.counts()
    theirs = Counts(
        seen={CAUSE: {learned.site(): 1, "there": 3}}, accepted={CAUSE: {"there": 3}}, forgotten={CAUSE: {"there": 1}}
    )
    learned.merge(theirs)
    learned.merge(theirs)
    assert learned.counts() == merge(mine, theirs)
    assert learned.counts().seen[CAUSE] == {learned.site(): 2, "there": 3}


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match=r"kt\.db"):
        SqliteLearned(tmp_path / "file" / "kt.db").learn("i", {CAUSE: 1}, {})
