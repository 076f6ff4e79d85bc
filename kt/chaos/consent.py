"""Who has to agree before a scheduled run begins. An answer is bound to exactly what would be run.

A run that waits stays claimed and holds no worker; each sweep looks again. Nobody's answer in time is a no.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec

from kt.chaos.model import Agreed, Run, What
from kt.runtime import Runtime
from kt.sections import Chaos
from verify import plain


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """That not enough people have agreed yet."""

    why: str
    over: bool
    """The time to agree is over, or nobody can be asked: it is not run."""


def digest(what: What) -> str:
    """Of all that decides what a run does: experiment, variables, what is only pretended, game day."""
    parts = (what.plain.digest, what.dry, *what.variables, str(what.game_day))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def needed(settings: Chaos, run: Run, experiment: plain.Experiment) -> int:
    """How many different people have to agree. Raises `BadExperiment` for variables that cannot be read."""
    if run.what.dry == "activities":
        return 0
    scope = plain.scope(experiment, plain.variables(run.what.variables), {})
    risky = run.what.game_day or bool(scope.cluster_wide)
    return max(settings.approvals, settings.approvals_risky if risky else 0)


def waiting(runtime: Runtime, run: Run, experiment: plain.Experiment) -> Waiting | None:
    """None when enough people have agreed to exactly this."""
    settings = runtime.settings.chaos
    count = needed(settings, run, experiment)
    given = {each.by for each in run.agreed if each.digest == digest(run.what)}
    if run.asked_by:
        # Whoever asks for a run is one of those who agree to it.
        given.add(run.asked_by)
    if len(given) >= count:
        return None
    have = f"{len(given)} of {count} people agree to it"
    if run.asked_by:
        return Waiting(why=f"{have}; a run by hand cannot wait for others: schedule it", over=True)
    over = runtime.clock() >= run.due_at + timedelta(seconds=settings.approval_expires_s)
    return Waiting(why=f"{have}{' in time' if over else f'; `kt chaos approve {run.id}`'}", over=over)


def agree(run: Run, by: str, at: datetime) -> Run:
    """The run with one more answer; the same person's again changes nothing."""
    mine = Agreed(by=by, at=at, digest=digest(run.what))
    if any((each.by, each.digest) == (mine.by, mine.digest) for each in run.agreed):
        return run
    return msgspec.structs.replace(run, agreed=(*run.agreed, mine))
