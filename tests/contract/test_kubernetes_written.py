"""What a container wrote, as twin and real API server hand it out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from remediate.cluster import ClusterError
from sense.kubernetes.written import Run, lines, runs
from tests.contract.clusters import Place

LONG_AGO = (datetime.now(UTC) - timedelta(days=1)).isoformat()


def read(place: Place, run: Run, since: str = LONG_AGO, **given: bool) -> str:
    return place.cluster.written(
        run.pod, run.namespace, run.container, since=since, most_lines=10, most_bytes=1000, **given
    )


@pytest.fixture
def run(place: Place) -> Run:
    place.deployment()
    [found] = runs(place.pods()[0])
    return found


def test_what_was_written_comes_as_lines_after_their_times(place: Place, run: Run) -> None:
    text = read(place, run)
    assert len(list(lines(text))) == len(text.splitlines())


def test_nothing_was_written_in_the_future(place: Place, run: Run) -> None:
    assert read(place, run, since=(datetime.now(UTC) + timedelta(days=1)).isoformat()) == ""


def test_what_never_ended_has_no_run_before(place: Place, run: Run) -> None:
    with pytest.raises(ClusterError, match="previous terminated container") as caught:
        read(place, run, previous=True)
    assert caught.value.code == 400


def test_a_container_that_is_not_of_the_pod_is_refused(place: Place, run: Run) -> None:
    with pytest.raises(ClusterError) as caught:
        place.cluster.written(run.pod, run.namespace, "other", since=LONG_AGO, most_lines=1, most_bytes=10)
    assert caught.value.code == 400


def test_a_pod_that_is_not_there_is_not_found(place: Place) -> None:
    with pytest.raises(ClusterError) as caught:
        place.cluster.written("none", place.namespace, "shop", since=LONG_AGO, most_lines=1, most_bytes=10)
    assert caught.value.code == 404
