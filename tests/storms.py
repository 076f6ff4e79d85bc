"""Small storms of alerts, drawn at random: for laws of the diagnosis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from graph_schema.model import Entity, Relation, Signal, Subgraph

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SYMPTOMS = ("errors", "latency", "unavailable")
SERVICES = 12


@st.composite
def storms(draw: st.DrawFn) -> tuple[Subgraph, list[Signal]]:
    """Services that call each other, in circles too, each with a workload of two pods, and complaints of many."""
    numbers = st.integers(0, SERVICES - 1)
    calls = draw(st.lists(st.tuples(numbers, numbers), min_size=6, max_size=30, unique=True))
    entities: dict[str, Entity] = {}
    relations = [Relation(f"Service/{one}", f"Service/{other}", "CALLS") for one, other in calls]
    for number in range(SERVICES):
        pods = [f"Pod/{number}-{place}" for place in range(2)]
        for name in (f"Service/{number}", f"Deployment/{number}", *pods):
            kind, short = name.split("/")
            entities[name] = Entity(id=name, kind=kind, name=f"x{short}")
        for pod in pods:
            relations += [Relation(f"Deployment/{number}", pod, "OWNS"), Relation(f"Service/{number}", pod, "SELECTS")]
    where = st.tuples(numbers, st.sampled_from(SYMPTOMS), st.integers(0, 300))
    seen = draw(st.lists(where, min_size=1, max_size=20, unique_by=lambda each: each[:2]))
    signals = [
        Signal(
            fingerprint=f"{symptom}@{number}", entity=f"Service/{number}", symptom=symptom, name=f"Kt{symptom}",
            starts_at=T0 + timedelta(seconds=after), confidence=0.95,
        )
        for number, symptom, after in seen
    ]  # fmt: skip
    return Subgraph(entities, tuple(relations)), signals
