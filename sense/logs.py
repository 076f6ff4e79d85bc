"""Log lines as evidence: kinds of trouble (templates) that are new or much more frequent since the onset.

Lines that tell of no trouble are left out, numbers and identifiers are masked, and what remains is grouped into
templates by Drain (He et al., ICWS 2017; the package drain3). How often a template came before and after the onset is
compared as two counts, the less surely the more it came in bursts before. Templates are mined in sorted order, so that
the order of lines does not matter.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import yaml

from graph_schema.model import Signal
from sense.files import BadFile, moment, records, seconds

if TYPE_CHECKING:
    from drain3 import TemplateMiner

MOST_DIFFERENT = 50_000
"""Different masked lines that are kept; what comes beyond them is counted as one, so that memory stays bounded."""
OTHER = "(other lines)"
LEAST = 0.3
"""A template at least this sure becomes a signal."""
BY_WORDS = 0.8
"""Confidence in a symptom that is read out of words."""
HALF = 3.0
FEWEST_SPANS, MOST_SPANS = 10, 200
LONGEST = 400
"""Characters of a line that are looked at."""
_MASKED = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b|\d+", re.I
)
_SECRET = re.compile(
    r"""(?ix) (?<=://) [^\s/@]+ (?=@)                                           # user:password@ of an address
    | \beyJ[\w-]{8,}(?:\.[\w-]*){0,2}                                        # a JSON web token
    | (?P<name> \b (?:bearer|basic) \s+
        | \b[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credential|api[_-]?key|access[_-]?key|authorization)[\w.-]*
          ["']? \s* [=:] \s* (?:["']?(?:bearer|basic)\s+)? )
      (?: "[^"]*"? | '[^']*'? | [^\s"',;&}]+ )
    """
)
"""What may be confidential in a line: KT tells of templates to people, in notifications and in its own log."""


class BadLogRules(Exception):
    """The file of log rules is wrong; the message says where and what to do."""


class _Line(msgspec.Struct):
    timestamp: str | float
    entity: str
    message: str


class _SymptomRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pattern: str
    symptom: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    words: tuple[str, ...]
    pattern: str
    symptoms: tuple[_SymptomRule, ...]


class LogRules:
    """Which lines tell of trouble, and of which kind."""

    def __init__(self, rules: _File) -> None:
        self._words = tuple(each.lower() for each in rules.words)
        self._pattern = re.compile(rules.pattern, re.IGNORECASE)
        self._symptoms = [(re.compile(each.pattern, re.IGNORECASE), each.symptom) for each in rules.symptoms]

    @classmethod
    def load(cls, path: Path | None = None) -> LogRules:
        """The rules of a file, or the ones that come with KT. Raises `BadLogRules`."""
        where = str(path) if path else "the built-in log rules"
        try:
            text = path.read_text() if path else resources.files("sense").joinpath("knowledge/logs.yaml").read_text()
            content: Any = yaml.safe_load(text)
            return cls(msgspec.convert(content, _File))
        except OSError as error:
            raise BadLogRules(f"{where} cannot be read: {error.strerror or error}") from error
        except (yaml.YAMLError, msgspec.ValidationError, re.error) as error:
            raise BadLogRules(f"{where} are not log rules: {error}") from error

    @property
    def symptoms(self) -> frozenset[str]:
        return frozenset(symptom for _, symptom in self._symptoms)

    def trouble(self, line: str) -> bool:
        """Whether a line tells of trouble. Plain words are tried first: of a million lines most say nothing."""
        small = line.lower()
        return any(word in small for word in self._words) or self._pattern.search(line) is not None

    def symptom(self, text: str) -> str:
        return next((symptom for pattern, symptom in self._symptoms if pattern.search(text)), "errors")


Times: TypeAlias = "array[float]"


class Logs(msgspec.Struct, frozen=True):
    """What was kept of lines: when each masked line of trouble came, and from when to when it would have been seen."""

    troubles: dict[tuple[str, str], Times]
    """(entity, masked line) → seconds since 1970."""
    spans: dict[str, tuple[float, float]]


class Collecting:
    """Lines of several entities, one after the other; only those of trouble are kept, masked."""

    def __init__(self, rules: LogRules) -> None:
        self._rules = rules
        self._different: set[str] = set()
        self.logs = Logs({}, {})

    def watched(self, entity: str, begin: float, end: float) -> None:
        """Whatever an entity wrote between these times is among the lines, if it wrote anything."""
        first, last = self.logs.spans.get(entity, (begin, end))
        self.logs.spans[entity] = (min(first, begin), max(last, end))

    def line(self, entity: str, at: float, message: str) -> None:
        self.watched(entity, at, at)
        text = message[:LONGEST]
        if not self._rules.trouble(text):
            return
        masked = _masked(text)
        if masked not in self._different:
            if len(self._different) >= MOST_DIFFERENT:
                masked = OTHER
            self._different.add(masked)
        self.logs.troubles.setdefault((entity, masked), array("d")).append(at)


def _masked(text: str) -> str:
    """The line without what differs from one time to the next, and without what may be confidential."""
    hidden = _SECRET.sub(lambda found: (found["name"] or "") + "<*>", " ".join(text.split()))
    return _MASKED.sub("<*>", hidden)


def read(path: Path, rules: LogRules) -> Logs:
    """The troubles in a file of JSON lines. Raises `BadFile`."""
    found = Collecting(rules)
    for number, line in records(path, _Line, '{"timestamp", "entity", "message"} in each line'):
        found.line(line.entity, _time(path, number, line.timestamp), line.message)
    return found.logs


def _time(path: Path, number: int, given: str | float) -> float:
    try:
        return seconds(str(given))
    except ValueError as error:
        raise BadFile(path, number, f"timestamp “{given}” is neither RFC 3339 nor seconds since 1970") from error


class Found(msgspec.Struct, frozen=True):
    entity: str
    template: str
    before: int
    after: int
    first: float
    """When it first came after the onset."""
    strength: float


def templates(logs: Logs, onset: float, *, before_s: float, after_s: float) -> Iterator[Found]:
    """Every template of trouble that came more often after the onset, by entity and template."""
    names = _mine(sorted({masked for _, masked in logs.troubles}))
    grouped: dict[tuple[str, str], list[Times]] = {}
    for entity, masked in sorted(logs.troubles):
        grouped.setdefault((entity, names[masked]), []).append(logs.troubles[(entity, masked)])
    for (entity, template), times in sorted(grouped.items()):
        first, last = logs.spans[entity]
        # Lines that came twice are one line: exports and retries repeat them.
        moments = sorted({at for each in times for at in each})
        earlier = [at for at in moments if onset - before_s <= at < onset]
        later = [at for at in moments if onset <= at < onset + after_s]
        if not later:
            continue
        watched_after = max(min(last, onset + after_s) - onset, 1.0)
        watched_before = max(onset - max(first, onset - before_s), watched_after / 4)
        spread = _spread(earlier, onset - watched_before, watched_before, watched_after)
        strength = _risen(len(earlier), watched_before, len(later), watched_after, spread)
        if strength > 0:
            yield Found(entity, template, len(earlier), len(later), later[0], strength)


def _mine(lines: Iterable[str]) -> dict[str, str]:
    """Masked line → its template."""
    miner = _miner()
    clusters = {line: int(miner.add_log_message(line)["cluster_id"]) for line in lines}
    texts = {each.cluster_id: each.get_template() for each in miner.drain.clusters}
    return {line: str(texts[number]) for line, number in clusters.items()}


def _miner() -> TemplateMiner:
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.profiling_enabled = False
    return TemplateMiner(config=config)


def _spread(moments: Sequence[float], begin: float, lasts_s: float, after_s: float) -> float:
    """How many times as large as for a Poisson process the variance of counts is: programs complain in bursts.

    The index of dispersion (Cox and Lewis, The Statistical Analysis of Series of Events, 1966) of counts in spans as
    long as what comes after, of which there are at least `FEWEST_SPANS`.
    """
    if len(moments) < 2:
        return 1.0
    spans = max(FEWEST_SPANS, min(MOST_SPANS, int(lasts_s / after_s)))
    counts = [0] * spans
    for at in moments:
        counts[min(spans - 1, int((at - begin) / lasts_s * spans))] += 1
    mean = len(moments) / spans
    return max(1.0, sum((each - mean) ** 2 for each in counts) / (spans - 1) / mean)


def _risen(before: int, before_s: float, after: int, after_s: float, spread: float) -> float:
    """Strength in [0, 1] of a rise between two counts (Anscombe's transform makes the noise of Poisson counts alike);
    `spread`: how many times as large as theirs the variance is."""
    ratio = after_s / before_s
    z = 2 * ((after + 0.375) ** 0.5 - (before * ratio + 0.375) ** 0.5) / ((1 + ratio) * spread) ** 0.5
    return z * z / (z * z + HALF * HALF) if z > 0 else 0.0


def signals(found: Iterable[Found], rules: LogRules) -> list[Signal]:
    """The surest template for each entity and symptom."""
    best: dict[tuple[str, str], Found] = {}
    for each in found:
        key = (each.entity, rules.symptom(each.template))
        if each.strength >= LEAST and (key not in best or each.strength > best[key].strength):
            best[key] = each
    return [_signal(symptom, each) for (_, symptom), each in sorted(best.items(), key=lambda item: item[0])]


def _signal(symptom: str, found: Found) -> Signal:
    digest = hashlib.blake2b(f"{found.entity}\x00{symptom}".encode(), digest_size=8).hexdigest()
    often = f"{found.before} times before the onset" if found.before else "never before the onset"
    return Signal(
        fingerprint=f"log-{digest}",
        entity=found.entity,
        symptom=symptom,
        name=found.template[:120],
        starts_at=moment(found.first),
        annotations={"summary": f"“{found.template}” {found.after} times since the onset, {often}"},
        confidence=round(found.strength * BY_WORDS, 6),
        source="log",
    )
