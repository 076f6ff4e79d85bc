"""What the name of a metric says of it: symptom, bad direction, and its part in the balance. Rules are data."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

Role = Literal["requests", "waiting", "failed", "succeeded", "failures"]


class BadMetricRules(Exception):
    """The file of metric rules is wrong; the message says where and what to do."""


class Meaning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pattern: str
    symptom: str
    worse: Literal["up", "down", "either"]
    role: Role | None = None
    counter: bool = False
    """It only ever grows: its rate is what counts."""
    unit: Literal["share"] | None = None
    floor: float = 0.0
    """Smallest change that counts, as a share of the level before; for a share: of one."""
    full: float = 0.0
    """For a share of a capacity: the level from which on it is short. A rise below it is load, and no symptom."""
    otherwise: str = ""
    """The symptom of a change of at least `FAR` into the direction that is not worse."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rules: tuple[Meaning, ...]


class MetricRules:
    """The rules, ready to use."""

    def __init__(self, rules: tuple[Meaning, ...]) -> None:
        self._rules = [(re.compile(rule.pattern, re.IGNORECASE), rule) for rule in rules]
        self.meaning = lru_cache(maxsize=10_000)(self._meaning)

    @classmethod
    def load(cls, path: Path | None = None) -> MetricRules:
        """The rules of a file, or the ones that come with KT. Raises `BadMetricRules`."""
        where = str(path) if path else "the built-in metric rules"
        try:
            text = path.read_text() if path else resources.files("sense").joinpath("knowledge/metrics.yaml").read_text()
            content: Any = yaml.safe_load(text)
            return cls(msgspec.convert(content, _File).rules)
        except OSError as error:
            raise BadMetricRules(f"{where} cannot be read: {error.strerror or error}") from error
        except (yaml.YAMLError, msgspec.ValidationError, re.error) as error:
            raise BadMetricRules(f"{where} are not metric rules: {error}") from error

    @property
    def symptoms(self) -> frozenset[str]:
        """Every symptom that a rule can give."""
        return frozenset(each for _, rule in self._rules for each in (rule.symptom, rule.otherwise) if each)

    def _meaning(self, metric: str) -> Meaning | None:
        """What is known of a metric of this name; None when no rule fits."""
        words = re.sub(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", "_", metric)
        return next((rule for pattern, rule in self._rules if pattern.search(words)), None)
