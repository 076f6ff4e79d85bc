"""One run in the hands of one process: guarded, run by Chaos Toolkit, judged; or, when its runner died, undone.

What has to be undone is noted before the process of the run starts (`Run.to_undo`): whoever finds a run without a
runner runs exactly that. Rollbacks may therefore run twice when a runner dies in the middle of them.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
import yaml

from kt.chaos import consent, guard
from kt.chaos.findings import findings, open_incident
from kt.chaos.measured import measured
from kt.chaos.model import Outcome, Run
from kt.chaos.store import ChaosStore
from kt.incident.log import LogUnavailable, VersionConflict
from kt.pipeline.halted import ASK_EVERY_S, halted
from kt.pipeline.journey import Held, held
from kt.runtime import Runtime
from verify import plain, progress, runner
from verify.judge import judge
from verify.stopper import Stopper
from verify.targets import targets

MOST_UNDO_TRIES = 3
LONGEST_TEXT = 20_000
"""Characters of one output that are kept in a journal."""
CONTENDED = 20
_log = structlog.get_logger(__name__)


class NotOurs(Exception):
    """Another process has taken the run over."""


def carry_on(runtime: Runtime, id_: str, lease: Held, *, by: str = "", folder: Path | None = None) -> None:
    """Take a run to its end, whatever became of it so far. The caller holds its lease.

    `by`: the person for whom this process runs it. `folder`: where relative paths and modules are looked up, instead of
    `chaos.folder`.
    """
    run = runtime.chaos.run(id_)
    if run is None or not run.open:
        return
    one = _OneRun(runtime, run, lease, folder)
    try:
        if run.phase == "claimed" and run.asked_by != by:
            one.end("aborted", "the command that asked for it was gone before it began")
        elif run.phase == "claimed":
            one.begin()
        else:
            one.recover()
    except NotOurs:
        _log.warning("another process has taken the run over", run=id_)


def workdir(runtime: Runtime, id_: str) -> Path:
    """Where the files of a run are while it is on, on the machine of its runner."""
    return (runtime.settings.data / "chaos" / id_).resolve()


class _OneRun:
    def __init__(self, runtime: Runtime, run: Run, lease: Held, folder: Path | None) -> None:
        self._runtime, self._run, self._lease = runtime, run, lease
        configured = runtime.settings.chaos.folder
        self._folder = folder or (Path(configured) if configured else None)
        self._workdir = workdir(runtime, run.id)

    def begin(self) -> None:
        """Guard it, run it, judge it."""
        if self._run.abort_asked:
            self.end("aborted", f"{self._run.abort_asked}, before anything was disturbed")
            return
        try:
            experiment = plain.parse(self._run.what.plain)
            waits = consent.waiting(self._runtime, self._run, experiment)
        except plain.BadExperiment as error:
            self.end("refused", str(error))
            return
        if waits is not None:
            if waits.over:
                self.end("refused", waits.why)
            return
        why = self._too_late()
        if why:
            self.end("skipped", why)
            return
        with self._slot() as free:
            try:
                why = "another run is about to begin" if not free else ""
                why = why or guard.objection(self._runtime, self._run, experiment)
            except plain.BadExperiment as error:
                why = str(error)
            if why:
                self.end("refused", why)
                return
            self._execute(experiment)

    def recover(self) -> None:
        """Its runner died: end what is left of it here, run its rollbacks, say so."""
        died = self._run.host or "an unknown machine"
        runner.end_processes(self._workdir)
        runner.end_processes(self._workdir / "undo")
        self._change(phase="undoing", fencing=self._lease.token, undo_tries=self._run.undo_tries + 1)
        how_far = progress.read(self._workdir / runner.PROGRESS)
        left = runner.journal_of(self._workdir)
        if how_far.steps:
            # What it did is known on this machine only.
            left = left or {"status": "aborted", "failure": f"its runner on {died} died", "run": how_far.run()}
            self._runtime.chaos.keep(self._run.id, "run", _short(left))
        rollbacks: plain.Experiment = yaml.safe_load(self._run.to_undo) if self._run.to_undo else {}
        declared = len(rollbacks.get("rollbacks", []))
        if not declared:
            done = "it had no rollbacks: a person has to look what is left of it"
        elif how_far.rolled_back(declared):
            done = f"its own process had run all {declared} rollbacks"
        else:
            done = self._undo(rollbacks, declared)
            if not done:
                return
        asked = f"{self._run.abort_asked}; " if self._run.abort_asked else ""
        self.end("aborted", f"{asked}its runner on {died} died; {done}")

    def _undo(self, rollbacks: plain.Experiment, declared: int) -> str:
        """Run the rollbacks; what came of it, empty while it shall be tried again."""
        journal = runner.undo(
            rollbacks,
            self._workdir / "undo",
            environment=self._runtime.experiment_environment(),
            folder=self._folder,
            options=self._options(),
        )
        self._runtime.chaos.keep(self._run.id, "undo", _short(journal))
        ran = journal.get("rollbacks", [])
        failed = [each for each in ran if each.get("status") != "succeeded"]
        if len(ran) >= declared and not failed:
            return f"{socket.gethostname()} ran its {declared} rollbacks"
        names = ", ".join(str(each.get("activity", {}).get("name")) for each in failed)
        what = f"failed: {names}" if failed else f"did not run: {journal.get('failure', 'no reason is known')}"
        if self._run.undo_tries < MOST_UNDO_TRIES:
            _log.error("rollbacks are tried again", run=self._run.id, what=what)
            return ""
        return f"in {MOST_UNDO_TRIES} tries its rollbacks {what}; a person has to look what is left of it"

    def _execute(self, experiment: plain.Experiment) -> None:
        undoing = plain.undoing(experiment)
        self._change(
            phase="running",
            started_at=self._runtime.clock(),
            host=socket.gethostname(),
            fencing=self._lease.token,
            to_undo=plain.dump(undoing) if undoing else "",
            targets=self._targets(experiment),
        )
        self._workdir.mkdir(parents=True, exist_ok=True)
        file = self._workdir / f"experiment.{self._run.what.plain.format}"
        file.write_bytes(self._run.what.plain.text.encode())
        conditions = guard.stop_conditions(self._runtime, self._run, experiment)
        with guard.stopper(self._runtime, conditions) as stopper:
            journal = runner.run_file(
                file,
                experiment,
                self._workdir,
                timeout_s=self._runtime.settings.chaos.timeout_s,
                environment=self._runtime.experiment_environment(),
                folder=self._folder,
                options=self._options(),
                stop=_Watch(self._runtime, self._run.id, self._lease, stopper),
            )
        self._runtime.chaos.keep(self._run.id, "run", _short(journal))
        verdict = judge(journal)
        outcome: Outcome = "refused" if journal.get("status") == "refused" else verdict.outcome
        ran, declared = journal.get("rollbacks") or [], experiment.get("rollbacks") or []
        undone = outcome == "aborted" and declared and all(each.get("status") == "succeeded" for each in ran)
        whole = "; its rollbacks ran" if undone and len(ran) >= len(declared) else ""
        self.end(outcome, verdict.why + whole, breach=stopper.breach)
        if verdict.outcome == "held":
            shutil.rmtree(self._workdir, ignore_errors=True)

    def _measure(self) -> None:
        """Keep what was measured meanwhile. It is for the report only: the run has its end without it."""
        run = self._run
        if run.started_at is None or run.ended_at is None or not run.targets:
            return
        kept = measured(self._runtime.settings.prometheus.url, run.targets, run.started_at, run.ended_at)
        try:
            self._runtime.chaos.keep(run.id, "series", kept)
        except LogUnavailable as error:
            _log.warning("what was measured is not kept", run=run.id, error=str(error))

    def _targets(self, experiment: plain.Experiment) -> tuple[str, ...]:
        environ = plain.surroundings(self._runtime.experiment_environment())
        return targets(experiment, plain.variables(self._run.what.variables), environ)

    def _options(self) -> list[str]:
        what = self._run.what
        dry = [f"--dry={what.dry}"] if what.dry else []
        return [*dry, *(f"--var={variable}" for variable in what.variables)]

    def _too_late(self) -> str:
        """Why it is not begun any more, though it was claimed."""
        run, now = self._run, self._runtime.clock()
        # What waited for people is not late.
        late_s = (now - max([run.due_at, *(each.at for each in run.agreed)])).total_seconds()
        if run.asked_by or late_s <= self._runtime.settings.chaos.late_s:
            return ""
        schedule = self._runtime.chaos.schedule(run.schedule)
        if schedule is None or schedule.missed == "once":
            return ""
        return f"no worker took it up for {late_s:.0f} s; missed runs are skipped."

    @contextmanager
    def _slot(self) -> Iterator[bool]:
        """One of the places for concurrent runs, for as long as the block runs; False when all are taken."""
        for number in range(self._runtime.settings.chaos.max_concurrent):
            name, ttl_s = f"chaos/slot/{number}", self._runtime.settings.pipeline.lease_ttl_s
            with held(self._runtime.leases, name, self._run.id, ttl_s=ttl_s) as slot:
                if slot is not None:
                    yield True
                    return
        yield False

    def end(self, outcome: Outcome, why: str, *, breach: str = "") -> None:
        """Note how it ended, after what it found."""
        found = findings(outcome, why, breach, self._runtime.chaos.journals(self._run.id))
        if found:
            open_incident(self._runtime, self._run, found)
        self._change(
            phase="ended", ended_at=self._runtime.clock(), outcome=outcome, why=why, to_undo="",
            fencing=self._lease.token, breach=breach,
        )  # fmt: skip
        self._runtime.telemetry.chaos(outcome)
        self._measure()
        _log.info("chaos run ended", run=self._run.id, name=self._run.what.name, outcome=outcome, why=why)

    def _change(self, **fields: Any) -> None:
        """Move the run; somebody who asks for its end meanwhile is no rival, another runner is."""
        before = self._run

        def moved(now: Run) -> Run:
            if (now.phase, now.fencing) != (before.phase, before.fencing):
                raise NotOurs
            return msgspec.structs.replace(now, **fields)

        self._run = _change(self._runtime.chaos, before.id, moved)


class _Watch:
    """Asked many times a second whether a run shall end; why, empty while it shall go on."""

    def __init__(self, runtime: Runtime, id_: str, lease: Held, stopper: Stopper) -> None:
        self._runtime, self._id, self._lease, self._stopper = runtime, id_, lease, stopper
        self._asked_at = self._answered_at = time.monotonic()

    def __call__(self) -> str:
        now = time.monotonic()
        if self._lease.lost.is_set():
            return "the lease of the run was lost"
        if self._stopper.breach:
            return self._stopper.breach
        if now - self._asked_at < ASK_EVERY_S:
            return ""
        self._asked_at = now
        try:
            run = self._runtime.chaos.run(self._id)
            stopped = halted(self._runtime.brakes)
        except LogUnavailable as error:
            # Nobody could stop this run now, and another process may believe it dead.
            away_s = now - self._answered_at
            return f"the store is away: {error}" if away_s > self._runtime.settings.pipeline.lease_ttl_s else ""
        self._answered_at = now
        if stopped:
            return stopped
        return run.abort_asked if run else "the run is not in the store any more"


def approve(store: ChaosStore, id_: str, by: str, at: datetime) -> Run | None:
    """Note that somebody agrees to a run that has not begun; None when it has, or is unknown."""

    def agreed(now: Run) -> Run:
        if now.phase != "claimed":
            raise NotOurs
        return consent.agree(now, by, at)

    try:
        return _change(store, id_, agreed)
    except NotOurs:
        return None


def ask_to_end(store: ChaosStore, id_: str, why: str) -> Run | None:
    """Ask whoever runs it to end a run, with its rollbacks; None when it has ended already, or is unknown."""

    def asked(now: Run) -> Run:
        if not now.open:
            raise NotOurs
        return now if now.abort_asked else msgspec.structs.replace(now, abort_asked=why)

    try:
        return _change(store, id_, asked)
    except NotOurs:
        return None


def _change(store: ChaosStore, id_: str, moved: Callable[[Run], Run]) -> Run:
    """Change a run as it stands, again when somebody else was faster. `moved` may raise to leave it alone."""
    for _ in range(CONTENDED):
        now = store.run(id_)
        if now is None:
            raise NotOurs
        after = msgspec.structs.replace(moved(now), version=now.version + 1)
        try:
            store.commit(after)
        except VersionConflict:
            continue
        return after
    raise VersionConflict(f"{id_} is changed by too many at once")


def _short(journal: Any) -> Any:
    """A journal without the longest of its outputs."""
    if isinstance(journal, str) and len(journal) > LONGEST_TEXT:
        return f"{journal[:LONGEST_TEXT]}… ({len(journal)} characters)"
    if isinstance(journal, dict):
        return {key: _short(value) for key, value in journal.items()}
    return [_short(each) for each in journal] if isinstance(journal, list) else journal
