"""`kt playbooks try`: what a playbook would do, dry against the cluster, or for real on the twin."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from kt.commands.incidents import echo_json
from remediate.actions import ACTIONS, CannotAct, Mark
from remediate.cluster import ClusterError

if TYPE_CHECKING:
    from kt.runtime import Runtime
    from remediate.remediator import Rehearsal

PATIENCE_S = 30.0
ACTION = "try"


class Tried(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a step on the twin."""

    summary: str
    done: str
    settled: str = ""
    """Why its effect has not fully arrived in time; empty when it has."""
    undone: str = ""


@click.command("try")
@click.argument("name")
@click.argument("target", metavar="KIND/[NAMESPACE/]NAME")
@click.option("--twin", is_flag=True, help="Carry it out, and take it back, on a simulated shop.")
@click.option("--fault", metavar="NAME", help="Break the simulated shop first: bad-rollout, overload, node-down.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def try_(config: Path | None, name: str, target: str, twin: bool, fault: str | None, as_json: bool) -> None:
    """Show what the playbook NAME would do to the object TARGET, with its diff, and what the guard says.

    Without --twin the API server of the cluster tries each step dry and keeps nothing. Exit code 1: it does not fit.
    """
    if fault and not twin:
        raise click.UsageError("--fault breaks the simulated shop only; add --twin")
    with _runtime(config, fault, twin=twin) as runtime:
        if name not in runtime.playbooks:
            there = ", ".join(sorted(runtime.playbooks))
            raise click.UsageError(f"there is no playbook “{name}”; there are {there}")
        try:
            found = runtime.remediator.rehearse(name, target)
            tried = list(_carried_out(runtime, found)) if twin else []
        except (CannotAct, ClusterError) as error:
            raise click.ClickException(f"{name} cannot be done to {target}: {error}") from error
    if as_json:
        echo_json({"playbook": name, "target": target, **msgspec.to_builtins(found), "tried": tried})
        return
    _say(found)
    for each in tried:
        click.secho(f"\nOn the twin: {each.summary}", bold=True)
        click.echo(f"  done     {each.done}\n  settled  {each.settled or 'yes'}\n  undone   {each.undone}")


def _say(found: Rehearsal) -> None:
    for step in found.steps:
        click.secho(step.summary, bold=True)
        for line in step.diff.splitlines():
            click.secho(f"  {line}", fg={"+": "green", "-": "red"}.get(line[:1]))
    for line in found.forecast:
        click.echo(f"forecast: {line}")
    against = [each for each in found.findings if each.verdict]
    for each in against:
        click.secho(f"guard, {each.rule}: {each.verdict.name.lower()}: {each.why}", fg="yellow")
    if not against:
        click.echo(f"guard: none of {len(found.findings)} rules objects")


def _carried_out(runtime: Runtime, found: Rehearsal) -> Iterator[Tried]:
    """Do the steps on the twin, wait for their effect, and take them back in the opposite order."""
    mark = Mark(action=ACTION, fencing=1, at=datetime.now(UTC).isoformat())
    done = []
    for step in found.steps:
        outcome = ACTIONS[step.action].apply(runtime.cluster, step, mark)
        done.append((step, outcome, Tried(summary=step.summary or step.action, done=outcome.detail)))
    for step, outcome, each in done:
        deadline = time.monotonic() + PATIENCE_S
        while (why := ACTIONS[step.action].settled(runtime.cluster, step)) and time.monotonic() < deadline:
            if outcome.later:
                ACTIONS[step.action].apply(runtime.cluster, step, mark)
            time.sleep(0.1)
        each.settled = why
    for step, outcome, each in reversed(done):
        each.undone = ACTIONS[step.action].undo(runtime.cluster, step, ACTION, outcome.undo).detail
    yield from (each for _, _, each in done)


@contextmanager
def _runtime(config: Path | None, fault: str | None, *, twin: bool) -> Iterator[Runtime]:
    from kt.runtime import Runtime
    from kt.settings import load

    settings = load(config, os.environ)
    if not twin:
        with _closing(Runtime(settings)) as runtime:
            yield runtime
        return
    from kt.sections import Store
    from twin.server import FAULTS, Twin

    if fault and fault not in FAULTS:
        raise click.UsageError(f"“{fault}” is no fault of the twin; {', '.join(FAULTS)} are")
    simulated = Twin().start()
    try:
        if fault:
            simulated.inject(fault)
        with tempfile.TemporaryDirectory(prefix="kt-try-") as folder:
            # Nothing of it belongs into the record of what is real.
            there = msgspec.structs.replace(settings.kubernetes, kubeconfig=str(simulated.kubeconfig), context="")
            apart = msgspec.structs.replace(settings, data_dir=folder, store=Store(), kubernetes=there)
            with _closing(Runtime(apart)) as runtime:
                yield runtime
    finally:
        simulated.stop()


@contextmanager
def _closing(runtime: Runtime) -> Iterator[Runtime]:
    try:
        yield runtime
    finally:
        runtime.close()
