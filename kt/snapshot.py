"""A snapshot of a cluster in files: topology, changes and alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from graph_schema.model import Change, Entity, Relation, Subgraph
from sense.alertmanager import AlertBatch, BadPayload, parse
from sense.files import BadFile

T = TypeVar("T")
MOST_WARNINGS = 10


class _Topology(msgspec.Struct):
    entities: list[Entity]
    relations: list[Relation]


def piece(topology: Path | None, changes: Path | None) -> tuple[Subgraph, list[str]]:
    """(what the files hold, warnings). What a known entity relates to and is not there may have been deleted.

    Raises `BadFile`.
    """
    content = _Topology([], [])
    if topology:
        content = _read(topology, _Topology, '{"entities": […], "relations": […]}')
    entities: dict[str, Entity] = {}
    warnings = []
    if topology:
        for entity in content.entities:
            if entity.id in entities:
                raise BadFile(topology, None, f"entity “{entity.id}” is there twice; ids must be unique")
            entities[entity.id] = entity
        for number, relation in enumerate(content.relations):
            absent = [end for end in (relation.source, relation.target) if end not in entities]
            if len(absent) == 2:
                names = " and ".join(f"“{each}”" for each in absent)
                raise BadFile(topology, None, f"relations[{number}] names {names}; neither is among the entities")
            if absent:
                warnings.append(
                    f"relations[{number}] names {absent[0]}, which is not among the entities; it counts as gone"
                )
    if len(warnings) > MOST_WARNINGS:
        warnings = [*warnings[:MOST_WARNINGS], f"and {len(warnings) - MOST_WARNINGS} more relations like these"]
    known = _read(changes, list[Change], '[{"entity": …, "at": …, "kind": …}]') if changes else []
    aware = [msgspec.structs.replace(each, at=_utc(each.at)) for each in known]
    return Subgraph(entities, tuple(content.relations), tuple(aware)), warnings


def batches(path: Path) -> list[AlertBatch]:
    """One payload of Alertmanager or a JSON array of them. Raises `BadFile`."""
    raw = _read(path, msgspec.Raw, "a webhook payload of Alertmanager, or an array of them")
    text = bytes(raw)
    parts = (
        [bytes(each) for each in msgspec.json.decode(text, type=list[msgspec.Raw])] if text.startswith(b"[") else [text]
    )
    found: list[AlertBatch] = []
    for number, part in enumerate(parts):
        try:
            found.append(parse(part))
        except BadPayload as error:
            raise BadFile(path, None, f"payload {number + 1}: {error}") from error
    return found


def _read(path: Path, type_: type[T], expected: str) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except OSError as error:
        raise BadFile(path, None, f"cannot be read: {error.strerror or error}") from error
    except msgspec.ValidationError as error:
        raise BadFile(path, None, f"{error}; expected is {expected}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(path, None, f"not JSON: {error}; expected is {expected}") from error


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
