"""What confirmed causes teach: counts that only grow, and the catalogue as they bend it. Pure.

Counts are grow-only counters, one for each site (Shapiro et al. 2011, G-Counter): merging takes the larger one, so
sites exchange theirs in any order, any number of times. What a person forgets or accepts is kept as counts of its own,
which grow as well. Of each site's count, what was accepted and not forgotten is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from diagnose.paths import Paths
from diagnose.rules import OWN, SELF
from diagnose.wiring import Wiring
from graph_schema.catalogue import Catalogue, FaultMode
from graph_schema.model import Signal, Subgraph
from graph_schema.ontology import Ontology

Use = Literal["off", "accepted", "all"]
Counter = dict[str, dict[str, int]]
"""Key → site → count."""
LEAST_CONFIRMED = 10
"""With fewer confirmed causes nothing is bent: a handful of incidents says little about the next one."""
BELIEF = 200.0
"""How many confirmed causes the catalogue's priors weigh as much as. Chosen on tuning sites of bench/learning.py."""
SYMPTOM_BELIEF = 20.0
"""How many confirmed causes of one fault its symptoms in the catalogue weigh as much as."""
MOST = 5.0
"""No prior is moved by more than this factor, up or down."""
SURELY = 0.98
HOPS = 4


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that was confirmed: by a fix that was attacked and held, or by a person."""

    fault: str
    shown: tuple[str, ...] = ()
    """Symptoms that were seen on the entity itself, its parts and its face."""
    near: Mapping[str, int] = {}
    """Kind → how many things of it were near: who could have had it."""
    playbook: str = ""
    held: bool = True


class Counts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    seen: Counter = {}
    accepted: Counter = {}
    forgotten: Counter = {}


def increments(outcome: Outcome) -> dict[str, int]:
    """What an outcome adds. Keys are `what|fault|…`, so that everything about a fault can be told by its name."""
    name = outcome.fault
    found = {f"cause|{name}": 1}
    found |= {f"shown|{name}|{symptom}": 1 for symptom in sorted(set(outcome.shown))}
    found |= {f"near|{name}|{kind}": count for kind, count in sorted(outcome.near.items())}
    if outcome.playbook:
        found[f"remedy|{name}|{outcome.playbook}|{'held' if outcome.held else 'did not hold'}"] = 1
    return found


def merge(one: Counts, other: Counts) -> Counts:
    """Both sites' counts. Commutative, associative, idempotent; `Counts()` changes nothing."""
    return Counts(
        seen=_merged(one.seen, other.seen),
        accepted=_merged(one.accepted, other.accepted),
        forgotten=_merged(one.forgotten, other.forgotten),
    )


def _merged(one: Counter, other: Counter) -> Counter:
    return {
        key: {
            site: max(one.get(key, {}).get(site, 0), other.get(key, {}).get(site, 0))
            for site in sorted({*one.get(key, {}), *other.get(key, {})})
        }
        for key in sorted({*one, *other})
    }


def about(counts: Counts, faults: Collection[str]) -> Counter:
    """What was seen of these faults, whole: accepting or forgetting it is merging it in at the other place."""
    return {key: dict(by_site) for key, by_site in counts.seen.items() if fault_of(key) in faults}


def fault_of(key: str) -> str:
    return key.split("|")[1]


def usable(counts: Counts, use: Use) -> dict[str, int]:
    """Key → how often, over all sites, of what may be used."""
    found: dict[str, int] = {}
    for key, by_site in sorted(counts.seen.items() if use != "off" else ()):
        accepted, forgotten = counts.accepted.get(key, {}), counts.forgotten.get(key, {})
        total = sum(
            max(0, (min(count, accepted.get(site, 0)) if use == "accepted" else count) - forgotten.get(site, 0))
            for site, count in by_site.items()
        )
        if total:
            found[key] = total
    return found


def confirmed(known: Mapping[str, int]) -> int:
    return sum(count for key, count in known.items() if key.startswith("cause|"))


def learned(catalogue: Catalogue, known: Mapping[str, int]) -> Catalogue:
    """The catalogue with priors and own symptoms as these counts bend it; the same one while there are too few.

    Priors by the posterior mean of a Dirichlet distribution over which fault is the cause: with n of N confirmed causes
    being the fault, and s the share of them that the catalogue expects (prior × things near that can have it, over all
    faults), the factor is (n + K·s) / ((N + K)·s), within [1/MOST, MOST]; K is BELIEF. Symptoms by the posterior mean
    of a Beta distribution: (k·q + h) / (k + n), q from the catalogue, h of n times seen; k is SYMPTOM_BELIEF (Gelman
    et al., Bayesian Data Analysis, 2.4 and 3.4).
    """
    total = confirmed(known)
    if total < LEAST_CONFIRMED:
        return catalogue
    near: dict[str, int] = defaultdict(int)
    for key, count in known.items():
        what, _, *rest = key.split("|")
        if what == "near" and rest:
            near[rest[0]] += count
    expected = {name: fault.prior * sum(near[kind] for kind in fault.on) for name, fault in catalogue.faults.items()}
    whole = sum(expected.values())
    faults = {
        name: _bent(fault, known, total, expected[name] / whole if whole else 0.0)
        for name, fault in catalogue.faults.items()
    }
    return msgspec.structs.replace(catalogue, faults=faults)


def _bent(fault: FaultMode, known: Mapping[str, int], total: int, share: float) -> FaultMode:
    count = known.get(f"cause|{fault.name}", 0)
    factor = 1.0
    if share > 0:
        factor = min(MOST, max(1 / MOST, (count + BELIEF * share) / ((total + BELIEF) * share)))
    symptoms = dict(fault.symptoms)
    prefix = f"shown|{fault.name}|"
    seen = {key.removeprefix(prefix): times for key, times in known.items() if key.startswith(prefix)}
    for symptom in sorted({*symptoms, *seen}) if count else ():
        before, times = symptoms.get(symptom, 0.0), min(count, seen.get(symptom, 0))
        symptoms[symptom] = min(SURELY, (SYMPTOM_BELIEF * before + times) / (SYMPTOM_BELIEF + count))
    told = f"learned: the cause of {count} of {total} confirmed incidents; its prior counts {factor:.2g} times"
    return msgspec.structs.replace(
        fault, prior=min(0.5, fault.prior * factor), symptoms=symptoms, learned=told if count else ""
    )


def own_symptoms(piece: Subgraph, signals: Iterable[Signal], entity: str, ontology: Ontology) -> tuple[str, ...]:
    """The symptoms that were seen on the entity itself, its parts and its face."""
    paths = Paths(piece, ontology, Wiring(piece, ontology), HOPS)
    if entity not in paths.moves.number:
        return ()
    own = paths.place(entity, SELF)
    found = set()
    for signal in signals:
        known = signal.mapped and signal.entity in piece.entities and signal.symptom not in found
        if known and paths.to(signal.entity, signal.symptom).strength(own) >= OWN:
            found.add(signal.symptom)
    return tuple(sorted(found))


def kinds_near(piece: Subgraph) -> dict[str, int]:
    """Kind → how many things of it are in the piece."""
    found: dict[str, int] = defaultdict(int)
    for each in piece.entities.values():
        found[each.kind] += 1
    return dict(sorted(found.items()))
