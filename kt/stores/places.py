"""Opens log, leases, chaos store and graph where the settings say: SQLite files in the data folder, or Neo4j."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from graph_schema.ontology import Ontology
from graph_schema.store import GraphStore
from kt.chaos.store import ChaosStore
from kt.incident.log import IncidentLog, Leases, Pulses
from kt.learned import Learned
from kt.operators import Operators
from kt.settings import Settings
from remediate.brakes import Brakes
from remediate.trials import Trials

# The Neo4j driver and networkx take time to load; each is loaded only where it is used.


def open_log(settings: Settings) -> IncidentLog:
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_log import Neo4jIncidentLog

        return Neo4jIncidentLog(where.uri, _auth(settings), where.database)
    from kt.stores.sqlite_log import SqliteIncidentLog

    return SqliteIncidentLog(settings.data / "kt.db")


def open_leases(settings: Settings, clock: Callable[[], datetime]) -> Leases:
    """`clock`: the wall clock, whatever the pipeline's own clock is: leases measure the life of processes."""
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_leases import Neo4jLeases

        return Neo4jLeases(where.uri, _auth(settings), clock, where.database)
    from kt.stores.sqlite_leases import SqliteLeases

    return SqliteLeases(settings.data / "kt.db", clock)


def open_brakes(settings: Settings) -> Brakes:
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_brakes import Neo4jBrakes

        return Neo4jBrakes(where.uri, _auth(settings), where.database)
    from kt.stores.sqlite_brakes import SqliteBrakes

    return SqliteBrakes(settings.data / "kt.db")


def open_trials(settings: Settings) -> Trials:
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_trials import Neo4jTrials

        return Neo4jTrials(where.uri, _auth(settings), where.database)
    from kt.stores.sqlite_trials import SqliteTrials

    return SqliteTrials(settings.data / "kt.db")


def open_operators(settings: Settings) -> Operators:
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_operators import Neo4jOperators

        return Neo4jOperators(where.uri, _auth(settings), where.database)
    from kt.stores.sqlite_operators import SqliteOperators

    return SqliteOperators(settings.data / "kt.db")


def open_pulses(settings: Settings, clock: Callable[[], datetime]) -> Pulses:
    """`clock`: the wall clock, as for leases."""
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_pulses import Neo4jPulses

        return Neo4jPulses(where.uri, _auth(settings), clock, where.database)
    from kt.stores.sqlite_pulses import SqlitePulses

    return SqlitePulses(settings.data / "kt.db", clock)


def open_learned(settings: Settings) -> Learned:
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_learned import Neo4jLearned

        return Neo4jLearned(where.uri, _auth(settings), where.database)
    from kt.stores.sqlite_learned import SqliteLearned

    return SqliteLearned(settings.data / "kt.db")


def open_chaos(settings: Settings) -> ChaosStore:
    where = settings.store
    if where.kind == "neo4j":
        from kt.stores.neo4j_chaos import Neo4jChaosStore

        return Neo4jChaosStore(where.uri, _auth(settings), where.database)
    from kt.stores.sqlite_chaos import SqliteChaosStore

    return SqliteChaosStore(settings.data / "kt.db")


def open_graph(settings: Settings, ontology: Ontology) -> GraphStore:
    where = settings.store
    if where.kind == "neo4j":
        from graph_schema.stores.neo4j import Neo4jGraphStore

        return Neo4jGraphStore(where.uri, _auth(settings), ontology.fault_from, where.database)
    from graph_schema.stores.sqlite import SqliteGraphStore

    return SqliteGraphStore(settings.data / "graph.db", ontology.fault_from)


def _auth(settings: Settings) -> tuple[str, str] | None:
    return (settings.store.user, settings.store.password) if settings.store.user else None
