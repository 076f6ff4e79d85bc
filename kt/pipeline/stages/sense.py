"""Sense: from notifications that were kept to signals of incidents, each exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog

from graph_schema.model import Signal
from kt.chaos.model import Run
from kt.incident.events import AlertsReceived
from kt.incident.log import Append, Notification, VersionConflict
from kt.incident.phases import ENDED
from kt.incident.state import State
from kt.pipeline.journey import Journey
from kt.pipeline.nearness import near
from kt.runtime import Runtime
from kt.web.intake import notification_id
from sense.alertmanager import AlertBatch, BadPayload, parse
from sense.grouping import NEW, OpenIncident, assign

AT_ONCE = 256
"""Notifications looked at in one go."""
MOST_OPEN = 500
"""Open incidents that a signal may join."""
MOST_ENDED = 100
"""The latest incidents among which one is looked for that comes back."""
_log = structlog.get_logger(__name__)


def drain(runtime: Runtime) -> list[State]:
    """Take in everything that was kept and not taken yet. The incidents that have news, in order of their news.

    Two workers may drain at once: each notification is settled by one commit, the other loses and goes on.
    """
    moved: dict[str, None] = {}
    known = _Known(runtime)
    while True:
        waiting = runtime.log.unsettled(AT_ONCE)
        for lot in _lots(runtime, waiting):
            try:
                moved.update(dict.fromkeys(_take(runtime, lot, known)))
            except VersionConflict:
                # Somebody else settled one, or moved the incident: they are looked at again while they are unsettled.
                _log.debug("notifications contended", first=lot.notifications[0], count=len(lot.notifications))
        if len(waiting) < AT_ONCE:
            return [Journey(runtime.log, incident).state for incident in moved]


class _Known:
    """The open incidents, each folded again only when its log has grown: a storm of alerts looks at them often."""

    def __init__(self, runtime: Runtime) -> None:
        self._log = runtime.log
        self._states: dict[str, State] = {}
        self._ended: dict[str, State] = {}

    def open(self) -> list[State]:
        entries = self._log.entries(open_only=True, limit=MOST_OPEN)
        kept, self._states = self._states, {}
        for entry in entries:
            state = kept.get(entry.incident)
            if state is None or state.version != entry.version:
                state = Journey(self._log, entry.incident).state
            self._states[entry.incident] = state
        # What comes while something is taken back is news of its own.
        return [state for state in self._states.values() if state.undo is None]

    def given_up(self, since: datetime) -> Iterator[State]:
        """Those that were given to a person since then, the latest opened first."""
        return (state for state in self.ended(since, "escalated") if state.escalated_at and state.escalated_at > since)

    def attacked(self, since: datetime) -> Iterator[State]:
        """Those that have ended and whose fix was attacked since then, the latest opened first."""
        for state in self.ended(since, *ENDED):
            if state.attacked and (state.attacked[1] or state.attacked[0]) >= since:
                yield state

    def ended(self, since: datetime, *phases: str) -> Iterator[State]:
        """Those that have ended like this and had something new since then."""
        for entry in self._log.entries(limit=MOST_ENDED):
            if entry.phase not in phases or entry.updated_at < since:
                continue
            state = self._ended.get(entry.incident)
            if state is None or state.version != entry.version:
                state = self._ended[entry.incident] = Journey(self._log, entry.incident).state
            yield state


class _Lot(msgspec.Struct, kw_only=True):
    """Notifications of one group of Alertmanager's that are taken in by one commit: in a storm the reading of an
    incident and the writing to it are paid once for all of them."""

    group_key: str
    received_at: datetime
    """When the first of them came."""
    notifications: list[str]
    signals: list[Signal]
    truncated: int


def _lots(runtime: Runtime, waiting: Sequence[Notification]) -> list[_Lot]:
    """The notifications in the order of their groups' first, each group's in their own order."""
    lots: dict[str, list[_Lot]] = {}
    for notification in waiting:
        batch = _read(notification)
        signals = runtime.mapping.signals(batch.alerts, runtime.lookup)
        group = lots.setdefault(batch.group_key or notification.id, [])
        # What ends here must find its beginning in the log: that is another commit.
        ended = {signal.fingerprint for signal in signals if not signal.firing}
        if not group or any(signal.fingerprint in ended for signal in group[-1].signals):
            received = notification.received_at
            group.append(
                _Lot(group_key=batch.group_key, received_at=received, notifications=[], signals=[], truncated=0)
            )
        lot = group[-1]
        lot.notifications.append(notification.id)
        lot.signals += signals
        lot.truncated = max(lot.truncated, batch.truncated)
    return [lot for group in lots.values() for lot in group]


def _read(notification: Notification) -> AlertBatch:
    try:
        return parse(notification.body)
    except BadPayload as error:
        # The door lets none of these in; one that got in by other ways must not stand in the way for ever.
        _log.error("notification cannot be read", notification=notification.id, error=str(error))
        return AlertBatch(group_key="", truncated=0, alerts=())


def _take(runtime: Runtime, lot: _Lot, known: _Known) -> Iterable[str]:
    """Settle the notifications of a lot; the incidents they brought news to."""
    signals = _fresh(runtime, lot.signals)
    if not signals:
        runtime.log.commit([], settle=lot.notifications)
        return ()
    open_ = known.open()
    assigned = assign(
        signals,
        lot.group_key,
        [_view(state) for state in open_],
        _taken_in(runtime, signals),
        lambda some, others: near(runtime.graph, some, others),
        window=timedelta(seconds=runtime.settings.pipeline.group_window_s),
    )
    back = _came_back(runtime, assigned.get(NEW, ()), known)
    if back is not None:
        assigned[back.id] = [*assigned.get(back.id, ()), *assigned.pop(NEW)]
        open_.append(back)
    runs = _on_now(runtime, signals)
    attacked = _attack_behind(runtime, assigned.get(NEW, ()), known)
    versions = {state.id: state.version for state in open_} | {NEW: 0}
    appends, keys = [], []
    for place, theirs in assigned.items():
        incident = notification_id() if place == NEW else place
        event = AlertsReceived(
            at=runtime.clock(),
            signals=tuple(theirs),
            group_key=lot.group_key,
            truncated=lot.truncated,
            received_at=lot.received_at,
            chaos_runs=tuple(run.id for run in runs if any(_may_have_raised(run, signal) for signal in theirs)),
            reopens=back is not None and place == back.id,
            attacked=attacked.id if attacked and place == NEW else "",
            calm_at=_calm_at(runtime, attacked) if attacked and place == NEW else None,
        )
        expected = versions[place] if place in versions else Journey(runtime.log, incident).state.version
        appends.append(Append(incident=incident, expected=expected, events=(event,)))
        keys += [(signal.key, incident) for signal in theirs]
    runtime.log.commit(appends, settle=lot.notifications, keys=keys)
    return [append.incident for append in appends]


def _came_back(runtime: Runtime, signals: Sequence[Signal], known: _Known) -> State | None:
    """The incident that was given to a person lately and whose alerts these are again; None when there is none, or when
    something that KT did for it is still in place: what comes then is looked at by itself.

    An alert that flaps would open an incident each time, and call a person each time."""
    within = timedelta(seconds=runtime.settings.pipeline.reopen_s)
    if not signals or not within:
        return None
    for state in known.given_up(since=runtime.clock() - within):
        if state.reopenable and any(_again(runtime, signal, state) for signal in signals):
            return state
    return None


def _again(runtime: Runtime, signal: Signal, state: State) -> bool:
    """Whether it is an alert of the incident: the same, or one of its name on the cause that was found or near it, as
    that of a pod that was made anew."""
    if signal.fingerprint in state.signals:
        return True
    cause = state.given_up[0] if state.given_up else ""
    named = any(each.name == signal.name for each in state.signals.values())
    return (
        bool(cause) and named and signal.mapped and near(runtime.graph, frozenset({signal.entity}), frozenset({cause}))
    )


def _attack_behind(runtime: Runtime, signals: Sequence[Signal], known: _Known) -> State | None:
    """The incident whose fix KT has just attacked, when all of this began since then near what was attacked."""
    within = timedelta(seconds=runtime.settings.pipeline.aftermath_s)
    told = [signal for signal in signals if signal.firing and signal.mapped]
    if not told or not within:
        return None
    for state in known.attacked(since=runtime.clock() - within):
        where = _touched(state)
        since = bool(where) and state.attacked and all(signal.starts_at >= state.attacked[0] for signal in told)
        if since and all(near(runtime.graph, frozenset({signal.entity}), where) for signal in told):
            return state
    return None


def _calm_at(runtime: Runtime, state: State) -> datetime:
    """When what an attack on the fix of that incident raised has ended."""
    began, over = state.attacked or (runtime.clock(), None)
    return (over or began) + timedelta(seconds=runtime.settings.pipeline.aftermath_s)


def _on_now(runtime: Runtime, signals: Sequence[Signal]) -> list[Run]:
    """The runs of chaos that are on, or whose aftermath lasts; none when nothing fires anew."""
    if not any(signal.firing for signal in signals):
        return []
    return runtime.chaos.runs_during(runtime.clock() - timedelta(seconds=runtime.settings.chaos.aftermath_s))


def _may_have_raised(run: Run, signal: Signal) -> bool:
    """What fired before a run began was not raised by it."""
    return signal.firing and run.started_at is not None and signal.starts_at >= run.started_at


def _fresh(runtime: Runtime, signals: Sequence[Signal]) -> list[Signal]:
    """Those never taken in before; of several with one key, the first."""
    claimed = runtime.log.claimed([signal.key for signal in signals])
    return list({signal.key: signal for signal in reversed(signals) if signal.key not in claimed}.values())[::-1]


def _taken_in(runtime: Runtime, signals: Sequence[Signal]) -> dict[str, str]:
    """Fingerprint → the incident that took in this very firing, open or ended."""
    keys = {signal.fingerprint: _firing_key(signal) for signal in signals if not signal.firing}
    claimed = runtime.log.claimed(list(keys.values()))
    return {fingerprint: claimed[key] for fingerprint, key in keys.items() if key in claimed}


def _firing_key(signal: Signal) -> str:
    return f"{signal.fingerprint}|{signal.starts_at.isoformat()}|firing"


def _view(state: State) -> OpenIncident:
    signals = state.signals.values()
    opened = state.opened_at or min(signal.starts_at for signal in signals)
    first = min([signal.starts_at for signal in signals], default=opened)
    return OpenIncident(
        id=state.id,
        opened_at=min(first, opened),
        last_start=max([signal.starts_at for signal in signals], default=opened),
        entities=frozenset(signal.entity for signal in signals if signal.mapped) | _touched(state),
        fingerprints=frozenset(state.signals),
        group_keys=frozenset(state.group_keys),
    )


def _touched(state: State) -> frozenset[str]:
    """What KT is acting on for the incident, and what depends on that: whatever is raised there now, by the fault or by
    the remedy, is this incident's. The graph does not tell, where pods that were moved have left it."""
    if state.plan is None or not state.actions:
        return frozenset()
    return frozenset((*state.plan.blast_radius, *state.plan.affects))
