"""What the contract suites share."""

from __future__ import annotations

import os
from typing import NamedTuple

import neo4j
import pytest


class Place(NamedTuple):
    uri: str
    auth: tuple[str, str] | None


@pytest.fixture
def empty_neo4j(neo4j_uri: str) -> Place:
    """A real Neo4j with nothing of KT in it but its schema."""
    user, password = os.environ.get("KT_TEST_NEO4J_USER", ""), os.environ.get("KT_TEST_NEO4J_PASSWORD", "")
    place = Place(neo4j_uri, (user, password) if user else None)
    with neo4j.GraphDatabase.driver(place.uri, auth=place.auth) as driver:
        driver.execute_query("MATCH (n) WHERE any(label IN labels(n) WHERE label STARTS WITH 'Kt') DETACH DELETE n")
    return place
