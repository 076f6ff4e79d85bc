"""Whether a run may begin. It only ever says no, and why, in a sentence that says what would have to change."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from kt.chaos import bounds, calendars
from kt.chaos.model import Run
from kt.pipeline.halted import halted
from kt.runtime import Runtime
from kt.settings import BadSettings
from remediate.cluster import ClusterError
from remediate.limits import Window
from verify import plain
from verify.stop_when import StopWhen, extension
from verify.stopper import Stopper
from verify.targets import reach

OPT_IN = "kt.io/chaos"


def objection(runtime: Runtime, run: Run, experiment: plain.Experiment) -> str:
    """The first reason against beginning this run now; empty if there is none.

    Raises `LogUnavailable`, and `BadExperiment` for variables that cannot be read.
    """
    settings = runtime.settings.chaos
    if not settings.enabled:
        return "chaos is off: nothing is disturbed until chaos.enabled is set"
    stopped = halted(runtime.brakes)
    if stopped:
        return f"{stopped}; nothing is disturbed until `kt resume`"
    # A freeze of the guard says that nothing changes: chaos would.
    now = runtime.clock()
    frozen = freeze_at((*settings.freeze, *runtime.policy().guard.freezes), now)
    if frozen:
        return frozen
    try:
        for name in settings.calendars:
            if event := calendars.event_at(Path(name), now, settings.calendar_zone):
                return event
    except calendars.BadCalendar as error:
        return f"{error}; whether chaos may begin cannot be known (chaos.calendars)"
    if settings.windows and not any(window.until(now) for window in settings.windows):
        return f"{now:%Y-%m-%d %H:%M %Z} is in none of the windows in which chaos may begin (chaos.windows)"
    others = [each.id for each in runtime.chaos.open_runs() if each.id != run.id and each.phase != "claimed"]
    if len(others) >= settings.max_concurrent:
        return f"{others[0]} is on; at most {settings.max_concurrent} at once (chaos.max_concurrent)"
    if not settings.with_open_incidents:
        open_ = runtime.log.entries(open_only=True, limit=1)
        if open_:
            about = f"{open_[0].incident[:20]} ({open_[0].summary})"
            return f"incident {about} is open; nothing is disturbed meanwhile (chaos.with_open_incidents)"
    conditions = stop_conditions(runtime, run, experiment)
    return _out_of_bounds(runtime, run, experiment) or stopper(runtime, conditions).objection()


def stop_conditions(runtime: Runtime, run: Run, experiment: plain.Experiment) -> tuple[StopWhen, ...]:
    """Those of all runs and those of this experiment, with its variables filled in. Raises `BadExperiment`."""
    own = extension(experiment, run.what.plain.source).stop_when
    given, environ = plain.variables(run.what.variables), plain.surroundings(runtime.experiment_environment())
    known = plain.configuration(experiment, given, environ)
    filled = [msgspec.structs.replace(each, query=str(plain.filled(each.query, known))) for each in own]
    return (*runtime.settings.chaos.stop_when, *filled)


def stopper(runtime: Runtime, conditions: tuple[StopWhen, ...]) -> Stopper:
    return Stopper(runtime.settings.prometheus.url, conditions)


def freeze_at(freezes: Iterable[Window], now: datetime) -> str:
    """Why `now` is a time without chaos; empty if it is not."""
    for freeze in freezes:
        until = freeze.until(now)
        if until is not None:
            why = f" ({freeze.why})" if freeze.why else ""
            return f"a freeze{why} lasts until {until:%Y-%m-%d %H:%M %Z}"
    return ""


def _out_of_bounds(runtime: Runtime, run: Run, experiment: plain.Experiment) -> str:
    environ = plain.surroundings(runtime.experiment_environment())
    variables = plain.variables(run.what.variables)
    scope = plain.scope(experiment, variables, environ)
    if scope.cluster_wide and not runtime.settings.chaos.cluster_wide:
        what = f"“{scope.cluster_wide[0]}” acts on nodes or on the machine that runs it"
        return f"{what}, which belong to no namespace (chaos.cluster_wide allows it)"
    if scope.unknown:
        return f"“{scope.unknown[0]}” names its namespace only once it runs; whether it is opted in cannot be known"
    if not scope.namespaces:
        return ""
    try:
        spaces = runtime.cluster.list("Namespace", labels=f"{OPT_IN}=enabled")
    except (BadSettings, ClusterError) as error:
        return f"whether namespace {scope.namespaces[0]} is opted in cannot be known: {error}"
    opted_in = {space["metadata"]["name"] for space in spaces}
    out = [namespace for namespace in scope.namespaces if namespace not in opted_in]
    if out:
        return f"namespace {out[0]} is not opted in (label it {OPT_IN}=enabled to let chaos act there)"
    try:
        return bounds.objection(runtime.cluster, set(reach(experiment, variables, environ)), runtime.settings.chaos)
    except ClusterError as error:
        return f"how well what it disturbs is cannot be known: {error}"
