"""A run by hand: in this process, with its steps shown as they happen; Ctrl-C ends it with its rollbacks."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kt.chaos import running
from kt.chaos.model import Run
from kt.commands import chaos_words as words
from kt.pipeline.journey import held
from kt.runtime import Runtime
from kt.settings import Settings
from kt.telemetry import configure_logs
from verify import progress, runner

LOOK_EVERY_S = 0.1


def run_now(
    settings: Settings, asked: Run, *, folder: Path | None, quiet: bool
) -> tuple[Run, dict[str, dict[str, Any]]]:
    """Carry out the run; how it ended, and its journals."""
    configure_logs(level="warning")
    runtime = Runtime(settings)
    ttl_s = settings.pipeline.lease_ttl_s
    # The lease comes first: from the moment the run is known, it has its runner.
    with held(runtime.leases, f"chaos/{asked.id}", f"{asked.asked_by}/{uuid.uuid4().hex[:6]}", ttl_s=ttl_s) as lease:
        if lease is None:
            raise click.ClickException("another process has this very run")
        runtime.chaos.commit(asked)
        broken: list[Exception] = []
        done = threading.Event()

        def work() -> None:
            try:
                running.carry_on(runtime, asked.id, lease, by=asked.asked_by, folder=folder)
            except Exception as error:
                broken.append(error)
            finally:
                done.set()

        if not quiet:
            click.echo(f"{words.name(asked.what)}  ({asked.id})")
        threading.Thread(target=work, name="chaos run").start()
        seen = _follow(runtime, asked, done, quiet=quiet)
    if broken:
        raise broken[0]
    ended = runtime.chaos.run(asked.id) or asked
    journals = runtime.chaos.journals(asked.id)
    runtime.close()
    if not quiet:
        for step in _unseen(journals.get("run", {}), seen):
            words.step(step)
    return ended, journals


def _follow(runtime: Runtime, asked: Run, done: threading.Event, *, quiet: bool) -> progress.Progress:
    """Show the steps as they are noted until the run is done; what was seen of them."""
    noted = running.workdir(runtime, asked.id) / runner.PROGRESS
    seen = progress.Progress()
    # An event, not the thread itself: Python 3.11 takes a thread for ended when Ctrl-C interrupts its join.
    while not done.is_set():
        try:
            done.wait(LOOK_EVERY_S)
            now = progress.read(noted)
            for step in now.steps[len(seen.steps) :]:
                if not quiet:
                    words.step(step)
            seen = now if now.steps else seen
        except KeyboardInterrupt:
            click.secho("  It is ended, with its rollbacks …", fg="yellow", err=True)
            running.ask_to_end(runtime.chaos, asked.id, f"ended by {asked.asked_by} with Ctrl-C")
    return seen


def _unseen(journal: dict[str, Any], seen: progress.Progress) -> Iterator[progress.Step]:
    """What the journal says was done after the last look: the notes are gone with a run that held."""
    shown = {(step.name, step.kind) for step in seen.steps if step.what == "done"}
    for each in [*(journal.get("run") or []), *(journal.get("rollbacks") or [])]:
        name, kind = str(each["activity"].get("name", "")), str(each["activity"].get("type", ""))
        if (name, kind) not in shown and each.get("status"):
            at = datetime.now(UTC)
            yield progress.Step(what="done", at=at, name=name, kind=kind, status=str(each["status"]))
