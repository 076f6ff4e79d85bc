"""What holds all workers at once, kept in a store: the global stop, the circuit breaker, the account of late actions.

Two stores fulfil the port, held to one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

OutcomeOf = Literal["", "held", "ineffective", "failed", "taken back"]


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """KT touches nothing, by whose word, since when and why."""

    at: datetime
    by: str
    why: str = ""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """One action that was begun. `target`: the workload or node that it counts for, as `Kind/namespace/name`."""

    action: str
    at: datetime
    target: str
    namespace: str
    playbook: str
    outcome: OutcomeOf = ""
    """What the verification found, that the cluster did not do it, or that a person took it back; empty until then."""


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit breaker opened: until then KT only proposes."""

    at: datetime
    until: datetime
    why: str
    closed_by: str = ""
    """Who closed it before its time."""


class Brakes(Protocol):
    """All methods may be called from several processes at once; what one has written the next one sees.

    They raise the store's own error when it does not answer: no answer is no permission."""

    def stopped(self) -> Stop | None: ...

    def stop(self, stop: Stop) -> None:
        """Hold everything; a stop that is there already is replaced."""
        ...

    def resume(self) -> Stop | None:
        """Let go; what was in force, if anything."""
        ...

    def trip(self, trip: Trip) -> None:
        """Keep that the circuit breaker opened, or was closed; what was kept before is replaced."""
        ...

    def tripped(self) -> Trip | None:
        """The last time that it opened, also when that is over."""
        ...

    def spend(self, spent: Spent, since: datetime, objection: Callable[[Sequence[Spent]], str]) -> str:
        """Ask `objection` about what was spent since then and, if it says nothing, note `spent`, in one transaction.

        Gives what it said. The same action is noted once."""
        ...

    def since(self, at: datetime) -> list[Spent]:
        """What was spent at or after a time, oldest first."""
        ...

    def conclude(self, action: str, outcome: OutcomeOf) -> None:
        """Note what became of an action; no error if it is not known."""
        ...

    def close(self) -> None: ...
