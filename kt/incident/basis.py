"""What a diagnosis rests on, whole, so that it can be made again: by another version of the catalogue or of the scorer.

It is kept packed in the log beside the diagnosis. `judge` is the one way from it to a diagnosis, live and in a replay.
"""

from __future__ import annotations

import zlib
from datetime import datetime

import msgspec

from diagnose import diagnose
from diagnose.arising import refine
from diagnose.asides import alerts_first
from diagnose.attribution import attribute, deserted, unavailable
from diagnose.demand import with_demand
from diagnose.learning import learned
from diagnose.probes import next_probe
from diagnose.propagation import Strengths
from diagnose.proven import proven
from diagnose.renewed import renewed, telling
from graph_schema.catalogue import Catalogue
from graph_schema.model import Burden, Diagnosis, ProbeAnswer, Signal, Subgraph
from graph_schema.ontology import Ontology

MOST_BYTES = 1024 * 1024
"""A packed basis that is larger is not kept: the log of an incident is loaded at every step."""
FASTEST = 1


class Basis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    now: datetime
    piece: Subgraph
    alerts: tuple[Signal, ...]
    """What was firing."""
    beside: tuple[Signal, ...] = ()
    """What metrics, events and conditions showed besides."""
    burdens: tuple[Burden, ...] = ()
    onset: datetime | None = None
    """When it began, as metrics tell it; None: not known."""
    watched: tuple[str, ...] | None = None
    """Symptoms that alert rules watch for; None: not known."""
    answers: tuple[ProbeAnswer, ...] = ()
    refuted: tuple[ProbeAnswer, ...] = ()
    """What was read with the metrics and answers a probe that was not asked."""
    known: dict[str, int] = {}
    """What had been learned and was used (`diagnose.learning.usable`)."""


class BadBasis(Exception):
    """What was kept cannot be read."""


def judge(basis: Basis, catalogue: Catalogue, ontology: Ontology) -> Diagnosis:
    """The diagnosis of this basis: the same one for the same catalogue, ontology and version of KT."""
    strengths = Strengths(basis.known, catalogue)
    catalogue = learned(catalogue, basis.known)
    signals = (*basis.alerts, *basis.beside)
    anew = renewed(basis.piece, basis.burdens, basis.now)
    refuted = telling(basis.refuted, anew, basis.burdens, basis.piece, catalogue)
    answers = (*refuted, *basis.answers)
    answer = diagnose(
        with_demand(basis.piece, basis.burdens, basis.onset), signals, catalogue, ontology, now=basis.now,
        rules=basis.watched, answers=answers, strengths=strengths,
        proven=proven(basis.piece, basis.burdens, basis.onset),
    )  # fmt: skip
    alerts = frozenset(each.fingerprint for each in basis.alerts)
    if not basis.burdens:
        return alerts_first(answer, alerts)
    showing = {(each.entity, each.symptom) for each in basis.alerts if each.mapped}
    troubled = unavailable(basis.piece.relations, basis.piece.entities, signals) | anew.keys()
    shares = attribute(basis.burdens, basis.piece.relations, showing, troubled, deserted(basis.piece.entities))
    answer = refine(answer, shares, basis.piece, catalogue, ontology)
    asked = {(each.question, each.confirms) for each in answers}
    following = next_probe(answer.hypotheses, basis.piece.entities, catalogue, asked=asked)
    return alerts_first(msgspec.structs.replace(answer, next_probe=following), alerts)


def pack(basis: Basis) -> bytes:
    """The basis for the log; empty when it is too large to be kept."""
    packed = zlib.compress(msgspec.msgpack.encode(basis), FASTEST)
    return packed if len(packed) <= MOST_BYTES else b""


def unpack(packed: bytes) -> Basis:
    """Raises `BadBasis`."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(packed), type=Basis)
    except (zlib.error, msgspec.DecodeError) as error:
        raise BadBasis(f"what the diagnosis rested on cannot be read: {error}") from error
