"""Opens log, leases, chaos store and graph where the settings say: SQLite files in the data folder, or Neo4j."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Any

from graph_schema.ontology import Ontology
from graph_schema.store import GraphStore
from kt.chaos.store import ChaosStore
from kt.incident.log import IncidentLog, Leases, Pulses
from kt.learned import Learned
from kt.operators import Operators
from kt.settings import Settings
from remediate.brakes import Brakes
from remediate.trials import Trials


def open_log(settings: Settings) -> IncidentLog:
    log: IncidentLog = _opened(settings, "log", "IncidentLog")
    return log


def open_leases(settings: Settings, clock: Callable[[], datetime]) -> Leases:
    """`clock`: the wall clock, whatever the pipeline's own clock is: leases measure the life of processes."""
    leases: Leases = _opened(settings, "leases", "Leases", clock=clock)
    return leases


def open_brakes(settings: Settings) -> Brakes:
    brakes: Brakes = _opened(settings, "brakes", "Brakes")
    return brakes


def open_trials(settings: Settings) -> Trials:
    trials: Trials = _opened(settings, "trials", "Trials")
    return trials


def open_operators(settings: Settings) -> Operators:
    operators: Operators = _opened(settings, "operators", "Operators")
    return operators


def open_pulses(settings: Settings, clock: Callable[[], datetime]) -> Pulses:
    """`clock`: the wall clock, as for leases."""
    pulses: Pulses = _opened(settings, "pulses", "Pulses", clock=clock)
    return pulses


def open_learned(settings: Settings) -> Learned:
    learned: Learned = _opened(settings, "learned", "Learned")
    return learned


def open_chaos(settings: Settings) -> ChaosStore:
    chaos: ChaosStore = _opened(settings, "chaos", "ChaosStore")
    return chaos


def open_graph(settings: Settings, ontology: Ontology) -> GraphStore:
    where = settings.store
    if where.kind == "neo4j":
        from graph_schema.stores.neo4j import Neo4jGraphStore

        return Neo4jGraphStore(where.uri, _auth(settings), ontology.fault_from, where.database)
    from graph_schema.stores.sqlite import SqliteGraphStore

    return SqliteGraphStore(settings.data / "graph.db", ontology.fault_from)


def _opened(settings: Settings, what: str, port: str, **more: Any) -> Any:
    """The port's implementation for the kind of store: `Neo4j…` of `neo4j_….py`, or `Sqlite…` of `sqlite_….py`.

    Each is loaded only where it is used: the Neo4j driver takes time to load.
    """
    where = settings.store
    implementation = getattr(import_module(f"kt.stores.{where.kind}_{what}"), f"{where.kind.capitalize()}{port}")
    if where.kind == "neo4j":
        return implementation(where.uri, _auth(settings), database=where.database, **more)
    return implementation(settings.data / "kt.db", **more)


def _auth(settings: Settings) -> tuple[str, str] | None:
    return (settings.store.user, settings.store.password) if settings.store.user else None
