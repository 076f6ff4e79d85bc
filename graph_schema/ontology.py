"""The ontology: kinds of thing, modes of sickness, symptoms, and how sickness travels. Data, checked when loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from graph_schema.located import Located, read

Made = TypeVar("Made")
End = Literal["source", "target"]
ENDS: tuple[End, End] = ("source", "target")
OTHER: dict[End, End] = {"source": "target", "target": "source"}
UNKNOWN_AS = "DEPENDS_ON"
"""A relation kind nobody declared is treated as this one."""
ANY = "any"
"""The group of what a thing shows for kinds that stand in no group."""
MOST_NAMES = 50_000
"""Names whose role is kept."""
CLASSES = frozenset({"availability", "latency", "errors", "saturation", "throughput", "correctness"})

Table = Mapping[str, Mapping[str, float]]
"""Mode in → mode out → share that arrives, in (0, 1]."""


class EntityKind(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    workload: bool = False
    """It owns pods: faults of its revision, its load and its size are faults of it."""
    states: frozenset[str] = frozenset()
    """Names of the properties that sense keeps of it."""


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """A mode or a symptom: the class it belongs to, and what it means."""

    name: str
    of: str
    about: str = ""
    stray: float | None = None
    """Of a symptom: how often it is seen with nothing behind it that matters, in (0, 1]."""


class RelationKind(msgspec.Struct, frozen=True, kw_only=True):
    """What travels along a relation. An end that is missing in `carries` passes nothing on."""

    name: str
    carries: dict[End, Table]
    delay_s: float = 0.0
    near: frozenset[End] = frozenset()
    """Ends whose sickness travels, but is not followed by the stores' walk for causes."""
    whole: End | None = None
    """The end that is a whole, the other end being one of its parts."""
    own: frozenset[End] = frozenset()
    """Ends whose own symptoms may be seen at the other end: a thing and its parts, or its face."""
    rests: End | None = None
    """The end that the other one directly rests on."""
    crowd: dict[End, float] = {}
    """End → exponent on the number of those that are there: many share the blame."""
    share: dict[str, float] = {}
    """Mode out → exponent on the share of the target's siblings that are hit."""


class Ontology(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    entities: dict[str, EntityKind]
    relations: dict[str, RelationKind]
    modes: dict[str, Term]
    symptoms: dict[str, Term]
    groups: dict[str, str]
    """Kind → group of `shows`."""
    shows: dict[str, Table]
    """Group → mode → symptom → how surely it is seen on a thing in that mode."""
    kind_names: dict[str, str] = {}
    """Other name of a kind, in lower case → the kind."""
    change_names: dict[str, str] = {}
    roles: dict[str, tuple[str, ...]] = {}
    """Kind → words by which a workload or service is known to be for that."""

    def relation(self, kind: str) -> RelationKind:
        """The declared kind, or what unknown ones are treated as."""
        return self.relations.get(kind) or self.relations[UNKNOWN_AS]

    def fault_from(self, kind: str) -> frozenset[str]:
        """The ends of a relation that the walk for causes follows."""
        relation = self.relation(kind)
        return frozenset(relation.carries) - relation.near

    def workload(self, kind: str) -> bool:
        return kind in self.entities and self.entities[kind].workload

    def shown(self, kind: str) -> Table:
        """Mode → symptom → how surely a thing of this kind shows it."""
        return self.shows[self.groups.get(kind, ANY)]

    def known_kind(self, word: str) -> str | None:
        """The kind that goes by this name, in any spelling; None if none does."""
        return word if word in self.entities else self._kinds.get(word.lower())

    def change_kind(self, word: str) -> str:
        """The kind of change that goes by this name; the word itself if none does."""
        return self.change_names.get(word.lower(), word)

    def once(self, make: Callable[[Ontology], Made]) -> Made:
        """What a class or a function of a module makes of it, made when it is first asked for and kept as long as the
        ontology, which never changes."""
        if make not in self._made:
            self._made[make] = make(self)
        found: Made = self._made[make]
        return found

    @cached_property
    def _made(self) -> dict[Callable[[Ontology], Any], Any]:
        return {}

    def role(self, name: str) -> str | None:
        """What a workload or service of this name is for; None if its name does not tell."""
        return self._role_of(name)

    @cached_property
    def _role_of(self) -> Callable[[str], str | None]:
        # One cluster's names are asked for again and again.
        return lru_cache(MOST_NAMES)(self._find_role)

    def _find_role(self, name: str) -> str | None:
        found = self._role_pattern.search(name.lower())
        return self._role_words[found.group(1)] if found else None

    @cached_property
    def _kinds(self) -> dict[str, str]:
        return {name.lower(): name for name in self.entities} | self.kind_names

    @cached_property
    def _role_words(self) -> dict[str, str]:
        return {word: role for role, words in sorted(self.roles.items()) for word in words}

    @cached_property
    def _role_pattern(self) -> re.Pattern[str]:
        words = "|".join(re.escape(word) for word in sorted(self._role_words, key=lambda word: (-len(word), word)))
        return re.compile(rf"(?:^|[-._/])({words or '(?!)'})(?:$|[-._/0-9])")


PARTS = (
    "entities", "relations", "modes", "symptoms", "shows", "kind_names", "relation_names", "change_names", "roles",
)  # fmt: skip


def load_ontology(path: Path | None = None) -> Ontology:
    """The ontology of a file, or the one that comes with KT. Raises `BadKnowledge` with file and line."""
    if path is not None:
        return _ontology(read(path))
    with resources.as_file(resources.files("graph_schema").joinpath("knowledge/ontology.yaml")) as built_in:
        return _ontology(read(built_in, "graph_schema/knowledge/ontology.yaml"))


def _ontology(content: Located) -> Ontology:
    parts = dict(content.items())
    only_known(parts, PARTS)
    for needed in ("entities", "relations", "modes", "symptoms", "shows"):
        if needed not in parts:
            raise content.error(f"“{needed}” is missing")
    modes = {name: _term(name, part) for name, part in parts["modes"].items()}
    symptoms = {name: _term(name, part) for name, part in parts["symptoms"].items()}
    entities = {name: _entity(name, part) for name, part in parts["entities"].items()}
    relations = {name: _relation(name, part, modes) for name, part in parts["relations"].items()}
    if UNKNOWN_AS not in relations:
        raise parts["relations"].error(f"{UNKNOWN_AS} is needed: unknown relations are treated as it")
    if "relation_names" in parts:
        relations |= {name: _renamed(name, part, relations) for name, part in parts["relation_names"].items()}
    groups: dict[str, str] = {}
    shows: dict[str, Table] = {}
    for name, part in parts["shows"].items():
        given = dict(part.items())
        groups |= {str(each.value): name for each in given.pop("kinds").each()}
        shows[name] = {
            known(mode, modes, each, "mode"): _shares(each, symptoms, "symptom") for mode, each in given.items()
        }
    if ANY not in shows:
        raise parts["shows"].error(f"“{ANY}” is needed: what kinds in no group show")
    return Ontology(
        entities=entities, relations=relations, modes=modes, symptoms=symptoms, groups=groups, shows=shows,
        kind_names=_words(parts.get("kind_names"), entities, "entity kind"),
        change_names=_words(parts.get("change_names"), None, "kind of change"),
        roles={
            known(kind, entities, part, "entity kind"): tuple(str(each.value) for each in part.each())
            for kind, part in (parts["roles"].items() if "roles" in parts else ())
        },
    )  # fmt: skip


def _words(part: Located | None, names: Iterable[str] | None, what: str) -> dict[str, str]:
    """Other name, in lower case → name."""
    found: dict[str, str] = {}
    for name, words in part.items() if part is not None else ():
        if names is not None:
            known(name, names, words, what)
        for each in words.each():
            word = str(each.value).lower()
            if found.setdefault(word, name) != name:
                raise each.error(f"“{each.value}” stands for {found[word]} already")
    return found


def _term(name: str, part: Located) -> Term:
    given = dict(part.items())
    only_known(given, ("class", "about", "stray"))
    if "class" not in given:
        raise part.error(f"{name} has no “class”; one of {', '.join(sorted(CLASSES))}")
    of = known(str(given["class"].value), CLASSES, given["class"], "class")
    about = str(given["about"].value) if "about" in given else ""
    return Term(name=name, of=of, about=about, stray=share(given["stray"]) if "stray" in given else None)


def _entity(name: str, part: Located) -> EntityKind:
    given = dict(part.items())
    only_known(given, ("workload", "states"))
    states = frozenset(given["states"].value) if "states" in given else frozenset()
    return EntityKind(
        name=name, workload=bool(given["workload"].value) if "workload" in given else False, states=states
    )


def _relation(name: str, part: Located, modes: Mapping[str, Term]) -> RelationKind:
    given = dict(part.items())
    only_known(given, ("from_source", "from_target", "delay_s", "near", "whole", "own", "rests", "crowd", "share"))
    carries: dict[End, Table] = {}
    for end in ENDS:
        if f"from_{end}" in given:
            carries[end] = {
                known(mode, modes, table, "mode"): _shares(table, modes, "mode")
                for mode, table in given[f"from_{end}"].items()
            }
    if not carries:
        raise part.error(f"relation {name} needs from_source or from_target: what travels along it")
    return RelationKind(
        name=name, carries=carries, delay_s=_number(given["delay_s"]) if "delay_s" in given else 0.0,
        near=frozenset(_end(each) for each in given["near"].each()) if "near" in given else frozenset(),
        whole=_end(given["whole"]) if "whole" in given else None,
        own=frozenset(_end(each) for each in given["own"].each()) if "own" in given else frozenset(),
        rests=_end(given["rests"]) if "rests" in given else None,
        crowd={_end_named(end, each): _number(each) for end, each in _entries(given.get("crowd"))},
        share={known(mode, modes, each, "mode"): _number(each) for mode, each in _entries(given.get("share"))},
    )  # fmt: skip


def _renamed(name: str, part: Located, relations: Mapping[str, RelationKind]) -> RelationKind:
    given = dict(part.items())
    only_known(given, ("like", "reversed"))
    if "like" not in given:
        raise part.error(f"{name} needs “like”: the relation that it is another word for")
    model = relations[known(str(given["like"].value), relations, given["like"], "relation")]
    if "reversed" not in given or not given["reversed"].value:
        return msgspec.structs.replace(model, name=name)
    return msgspec.structs.replace(
        model,
        name=name,
        carries={OTHER[end]: table for end, table in model.carries.items()},
        near=frozenset(OTHER[end] for end in model.near),
        whole=OTHER[model.whole] if model.whole else None,
        own=frozenset(OTHER[end] for end in model.own),
        rests=OTHER[model.rests] if model.rests else None,
        crowd={OTHER[end]: exponent for end, exponent in model.crowd.items()},
    )


def only_known(given: Mapping[str, Located], names: Iterable[str]) -> None:
    for key, value in given.items():
        if key not in names:
            raise value.error(f"“{key}” is not known here; {', '.join(sorted(names))} are")


def known(name: str, names: Iterable[str], where: Located, what: str) -> str:
    """The name itself. Raises `BadKnowledge` when it is not one of `names`."""
    if name not in names:
        raise where.error(f"“{name}” is no {what} of the schema")
    return name


def _shares(part: Located, names: Iterable[str], what: str) -> dict[str, float]:
    return {known(name, names, each, what): share(each) for name, each in part.items()}


def _entries(part: Located | None) -> Iterable[tuple[str, Located]]:
    return part.items() if part is not None else ()


def _end(part: Located) -> End:
    return _end_named(str(part.value), part)


def _end_named(name: str, part: Located) -> End:
    for end in ENDS:
        if name == end:
            return end
    raise part.error(f"“{name}” is not an end of a relation; source and target are")


def share(part: Located) -> float:
    """A share in (0, 1]."""
    value = part.value
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise part.error(f"{value} is not a share in (0, 1]")
    return float(value)


def _number(part: Located) -> float:
    value = part.value
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise part.error(f"{value} is not a number from 0 on")
    return float(value)
