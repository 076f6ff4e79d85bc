"""`kt chaos`: Chaos Toolkit experiments on schedule and by hand, their history, and the way to end one."""

from __future__ import annotations

import getpass
import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from kt.chaos import times
from kt.chaos.model import Run, Schedule, What
from kt.chaos.store import ChaosStore, NameTaken
from kt.commands import chaos_words as words
from kt.commands.chaos_approve import approve
from kt.commands.chaos_report import MOST_RUNS, report
from kt.commands.chaos_templates import templates
from kt.incident.log import VersionConflict
from kt.settings import Settings, load
from verify import plain

ABORT_PATIENCE_S = 20.0
DRY = ("probes", "actions", "activities", "pause")


@click.group()
def chaos() -> None:
    """Chaos Toolkit experiments on schedule: add, run, history, abort."""


chaos.add_command(templates)
chaos.add_command(report)
chaos.add_command(approve)


@chaos.group()
def schedule() -> None:
    """When experiments run."""


@schedule.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cron", required=True, help="Five fields, such as “30 2 * * MON-FRI”.")
@click.option("--name", help="What it is called; else the experiment's title.")
@click.option("--tz", "zone", default="UTC", show_default=True, help="Time zone of the cron expression.")
@click.option("--missed", type=click.Choice(["skip", "once"]), default="skip", show_default=True,
              help="Runs that fell due while KT was down: make up for none, or for the latest.")  # fmt: skip
@click.option("--game-day", is_flag=True, help="Let KT remedy what the run breaks; else its alerts are only noted.")
@click.option("--dry", type=click.Choice(DRY), help="Only pretend these, as `chaos run --dry`.")
@click.option("--var", "variables", multiple=True, metavar="KEY=VALUE", help="As `chaos run --var`; may be repeated.")
@click.option("--no-validation", is_flag=True, help="Leave it to the worker, which has the secrets and modules.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def add(
    config: Path | None,
    file: Path,
    cron: str,
    name: str | None,
    zone: str,
    missed: str,
    game_day: bool,
    dry: str | None,
    variables: tuple[str, ...],
    no_validation: bool,
    as_json: bool,
) -> None:
    """Run the plain Chaos Toolkit experiment in FILE (JSON or YAML) whenever CRON says. It is kept unchanged.

    \b
    kt chaos schedule add kill-a-pod.yaml --cron "30 2 * * MON-FRI" --tz Europe/Berlin
    """
    settings = load(config, os.environ)
    try:
        times.check(cron, zone)
    except times.BadTimes as error:
        raise click.UsageError(str(error)) from error
    what = _what(file, name, dry or "", variables, game_day)
    if not no_validation:
        try:
            plain.validate(what.plain, folder=_folder(settings), environment=_kubeconfig(settings))
        except plain.BadExperiment as error:
            # A worker runs it elsewhere: what is found beside the file today is not found there tonight.
            where = settings.chaos.folder or "an empty folder, as chaos.folder is not set"
            raise plain.BadExperiment(f"{error} (relative paths and modules are looked up in {where})") from error
    now = datetime.now(UTC)
    one = Schedule(
        id=uuid.uuid4().hex[:8],
        what=what,
        cron=cron,
        zone=zone,
        missed="once" if missed == "once" else "skip",
        due_at=times.next_due(cron, zone, now),
        created_at=now,
    )
    try:
        _store(settings).commit(one)
    except NameTaken as error:
        raise click.UsageError(
            f"a schedule is called “{what.name}” already; name this one with --name, or remove that one first"
        ) from error
    if as_json:
        words.print_json(words.plain_schedule(one))
        return
    click.echo(f"{words.tick()} {one.id}  {words.name(what)}, next {words.when(one.due_at, one.zone)}")
    if not settings.chaos.enabled:
        click.secho("  Chaos is off: its runs are refused until chaos.enabled is set.", fg="yellow")


@schedule.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def list_(config: Path | None, as_json: bool) -> None:
    """One line for each schedule: when it runs next and how its latest run ended."""
    store = _store(load(config, os.environ))
    found = [(each, next(iter(store.runs(schedule=each.id, limit=1)), None)) for each in store.schedules()]
    if as_json:
        words.print_json([words.plain_schedule(each) for each, _ in found])
        return
    if not found:
        click.echo("No schedule. `kt chaos schedule add FILE --cron …` adds one.")
    for each, latest in found:
        click.echo(words.schedule_line(each, latest))


@schedule.command()
@click.argument("schedule")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def show(config: Path | None, schedule: str, as_json: bool) -> None:
    """SCHEDULE (its name, or the beginning of its id) with its experiment and its latest runs."""
    store = _store(load(config, os.environ))
    one = _schedule(store, schedule)
    if as_json:
        words.print_json(words.plain_schedule(one) | {"experiment": one.what.plain.text})
        return
    words.show_schedule(one, store.runs(schedule=one.id, limit=10))


@schedule.command()
@click.argument("schedule")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def remove(config: Path | None, schedule: str, as_json: bool) -> None:
    """Take SCHEDULE away. Its runs stay in the history; one that is on goes on."""
    store = _store(load(config, os.environ))
    one = _schedule(store, schedule)
    store.remove(one.id)
    if as_json:
        words.print_json({"removed": one.id})
        return
    click.echo(f"{words.tick()} {one.what.name} is removed.")


@schedule.command()
@click.argument("schedule")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def pause(config: Path | None, schedule: str, as_json: bool) -> None:
    """Keep SCHEDULE, without running it, until it is resumed."""
    _move(config, schedule, paused=True, as_json=as_json)


@schedule.command()
@click.argument("schedule")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def resume(config: Path | None, schedule: str, as_json: bool) -> None:
    """Run SCHEDULE again from its next time on. What fell due while it was paused is not made up for."""
    _move(config, schedule, paused=False, as_json=as_json)


@chaos.command()
@click.argument("what")
@click.option("--dry", type=click.Choice(DRY), help="Only pretend these, as `chaos run --dry`.")
@click.option("--var", "variables", multiple=True, metavar="KEY=VALUE", help="As `chaos run --var`; may be repeated.")
@click.option("--game-day", is_flag=True, help="Let KT remedy what the run breaks; else its alerts are only noted.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who asks for it.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def run(
    config: Path | None,
    what: str,
    dry: str | None,
    variables: tuple[str, ...],
    game_day: bool,
    by: str,
    as_json: bool,
) -> None:
    """Run a schedule (its name or id) or the experiment in a file now, under the same guard as on schedule.

    Ctrl-C ends it with its rollbacks. Exit code 0 only when the system held.
    """
    from kt.commands.chaos_run import run_now

    settings = load(config, os.environ)
    file = Path(what)
    folder: Path | None
    named = file.suffix.lower() in plain.FORMATS
    if named and (file.is_file() or all(each.what.name != what for each in _store(settings).schedules())):
        one, schedule_id, folder = _what(file, None, dry or "", variables, game_day), "", Path.cwd()
        plain.validate(one.plain, folder=folder, environment=_kubeconfig(settings))
    else:
        found = _schedule(_store(settings), what, also="no file that ends with .json, .yaml or .yml")
        one, schedule_id, folder = found.what, found.id, _folder(settings)
        one = msgspec.structs.replace(
            one,
            dry=dry or one.dry,
            variables=(*one.variables, *variables),
            game_day=game_day or one.game_day,
        )
    now = datetime.now(UTC)
    asked = Run(
        id=f"{schedule_id or 'file'}-{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:4]}",
        schedule=schedule_id,
        asked_by=by,
        what=one,
        due_at=now,
        claimed_at=now,
    )
    ended, journals = run_now(settings, asked, folder=folder, quiet=as_json)
    if as_json:
        words.print_json(words.plain_run(ended) | {"journals": journals})
    else:
        words.verdict(ended)
    if ended.outcome != "held":
        raise click.exceptions.Exit(1)


@chaos.command()
@click.option("--schedule", help="Only of this one (its name or id).")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def history(config: Path | None, schedule: str | None, limit: int, as_json: bool) -> None:
    """One line for each run, the latest first, also for those that were refused or missed, with why.

    Behind a run that showed something: the resilience of what it attacked, after it. Below: every service's, with its
    trend. `kt chaos report -o FOLDER` writes the same as linked pages.
    """
    from kt.chaos.resilience import scores, standings

    store = _store(load(config, os.environ))
    found = store.runs(schedule=_schedule(store, schedule).id if schedule else None, limit=limit)
    every = store.runs(limit=MOST_RUNS)
    left = standings(every)
    if as_json:
        words.print_json([words.plain_run(each) | {"resilience": left.get(each.id, ())} for each in found])
        return
    if not found:
        click.echo("No run yet.")
    for each in found:
        click.echo(words.run_line(each, left.get(each.id, ())))
    attacked = {target for each in found for target in each.targets}
    words.resilience(each for each in scores(every, datetime.now(UTC)) if each.service in attacked)


@chaos.command("show")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer, with the journal of Chaos Toolkit.")
@click.pass_obj
def show_run(config: Path | None, run: str, as_json: bool) -> None:
    """RUN (its id or the beginning of it): steady states, activities, rollbacks, verdict."""
    store = _store(load(config, os.environ))
    one = one_run(store, run)
    journals = store.journals(one.id)
    if as_json:
        words.print_json(words.plain_run(one) | {"experiment": one.what.plain.text, "journals": journals})
        return
    words.show_run(one, journals)


@chaos.command()
@click.argument("run")
@click.option("--why", default="", help="Kept in the history.")
@click.option("--by", default=getpass.getuser, show_default="you", help="Who ends it.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def abort(config: Path | None, run: str, why: str, by: str, as_json: bool) -> None:
    """End RUN (its id or the beginning of it) now, with its rollbacks. Waits until it has ended."""
    store = _store(load(config, os.environ))
    one = one_run(store, run)
    if not one.open:
        raise click.UsageError(f"run {one.id} has ended already: {one.outcome}")
    one = _ask_to_end(store, one, f"ended by {by}{f': {why}' if why else ''}")
    deadline = time.monotonic() + ABORT_PATIENCE_S
    while one.open and time.monotonic() < deadline:
        time.sleep(0.1)
        one = store.run(one.id) or one
    if as_json:
        words.print_json(words.plain_run(one))
    elif one.open:
        click.secho(f"It has been asked to end and is still {one.phase}: is a worker running?", fg="yellow", err=True)
    else:
        words.verdict(one)
    if one.open:
        raise click.exceptions.Exit(1)


def _ask_to_end(store: ChaosStore, one: Run, why: str) -> Run:
    from kt.chaos.running import ask_to_end

    return ask_to_end(store, one.id, why) or one


def _move(config: Path | None, name: str, *, paused: bool, as_json: bool) -> None:
    store = _store(load(config, os.environ))
    one = _schedule(store, name)
    if one.paused != paused:
        due_at = None if paused else times.next_due(one.cron, one.zone, datetime.now(UTC))
        one = msgspec.structs.replace(one, version=one.version + 1, paused=paused, due_at=due_at)
        try:
            store.commit(one)
        except VersionConflict as error:
            raise click.ClickException("it was claimed or changed at this very moment; try again") from error
    if as_json:
        words.print_json(words.plain_schedule(one))
        return
    then = "paused" if paused else f"on, next {words.when(one.due_at, one.zone)}"
    click.echo(f"{words.tick()} {one.what.name} is {then}")


def _what(file: Path, name: str | None, dry: str, variables: tuple[str, ...], game_day: bool) -> What:
    read = plain.read(file)
    plain.variables(variables)
    title = plain.parse(read).get("title")
    return What(name=name or str(title or file.stem), plain=read, dry=dry, variables=variables, game_day=game_day)


def _store(settings: Settings) -> ChaosStore:
    from kt.stores.places import open_chaos

    return open_chaos(settings)


def _folder(settings: Settings) -> Path | None:
    return Path(settings.chaos.folder) if settings.chaos.folder else None


def _kubeconfig(settings: Settings) -> dict[str, str]:
    return {"KUBECONFIG": settings.kubernetes.kubeconfig} if settings.kubernetes.kubeconfig else {}


def _schedule(store: ChaosStore, name: str, also: str = "") -> Schedule:
    """The one schedule of this name, or whose id begins so. Raises `UsageError`."""
    every = store.schedules()
    found = [each for each in every if each.what.name == name]
    found = found or [each for each in every if each.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"no schedule is called “{name}”, none has an id that begins so" if not found else f"“{name}” is ambiguous"
    raise click.UsageError(f"{what}{f', and it is {also}' if also else ''}; `kt chaos schedule list` shows them")


def one_run(store: ChaosStore, beginning: str) -> Run:
    """The one run whose id begins so. Raises `UsageError`."""
    exact = store.run(beginning)
    found = [exact] if exact else [each for each in store.runs(limit=10_000) if each.id.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    what = "no run has" if not found else f"{len(found)} runs have"
    raise click.UsageError(f"{what} an id that begins with “{beginning}”; `kt chaos history` shows them")
