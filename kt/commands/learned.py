"""`kt knowledge diff|accept|forget|export|merge`: what causes and runs of chaos taught, and what to do with it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from diagnose.learning import Counter, Counts
    from graph_schema.catalogue import Catalogue
    from kt.learned import Learned
    from kt.settings import Settings


MOST_RUNS = 10_000


class Taught:
    """Everything that these commands work on. What nobody learned from yet is learned first."""

    def __init__(self, config: Path | None) -> None:
        from graph_schema.catalogue import load_catalogue
        from graph_schema.ontology import load_ontology
        from kt.chaos.lessons import take_in_runs
        from kt.learned import take_in
        from kt.settings import load
        from kt.stores import places

        self.settings: Settings = load(config, os.environ)
        self.ontology = load_ontology()
        self.catalogue: Catalogue = load_catalogue(ontology=self.ontology)
        self.store: Learned = places.open_learned(self.settings)
        log, chaos = places.open_log(self.settings), places.open_chaos(self.settings)
        graph = places.open_graph(self.settings, self.ontology)
        take_in(log, self.store, self.ontology)
        take_in_runs(
            chaos.runs(limit=MOST_RUNS), chaos, log, self.store, self.catalogue, self.ontology, graph,
            now=datetime.now(UTC), aftermath_s=self.settings.chaos.aftermath_s,
        )  # fmt: skip
        self.counts: Counts = self.store.counts()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def diff(config: Path | None, as_json: bool) -> None:
    """What was learned, and what it changes of the catalogue now and would change if it were accepted."""
    from diagnose.learning import LEAST_CONFIRMED, confirmed, learned, usable

    taught = Taught(config)
    every, used = usable(taught.counts, "all"), usable(taught.counts, taught.settings.diagnose.learning)
    now, then = learned(taught.catalogue, used), learned(taught.catalogue, every)
    rows = [_row(name, taught.catalogue, now, then, every) for name in sorted(taught.catalogue.faults)]
    rows = [row for row in rows if row["confirmed"]]
    from diagnose.propagation import paths
    from diagnose.untold import untold

    in_use = {each.relation: each.runs for each in untold(used)}
    answer = {
        "confirmed": confirmed(every),
        "used": confirmed(used),
        "needed": LEAST_CONFIRMED,
        "learning": taught.settings.diagnose.learning,
        "faults": rows,
        "paths": [
            {
                "fault": each.fault,
                "disturbed": each.disturbed,
                "shows_on": each.entity,
                "symptom": each.symptom,
                "runs": each.runs,
                "raised": each.raised,
                "after_s": each.after_s,
                "runs_in_use": used.get(each.key, 0),
            }
            for each in paths(every)
        ],
        "calls": [
            {
                "caller": each.caller,
                "called": each.called,
                "runs": each.runs,
                "runs_in_use": in_use.get(each.relation, 0),
            }
            for each in untold(every)
        ],
    }
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    _show(answer)


def _row(name: str, before: Catalogue, now: Catalogue, then: Catalogue, known: dict[str, int]) -> dict[str, Any]:
    old, current, new = before.faults[name], now.faults[name], then.faults[name]
    remedies = {
        key.removeprefix(f"remedy|{name}|").replace("|", " "): count
        for key, count in known.items()
        if key.startswith(f"remedy|{name}|")
    }
    return {
        "fault": name,
        "confirmed": known.get(f"cause|{name}", 0),
        "prior": {"catalogue": old.prior, "in_use": current.prior, "if_accepted": new.prior},
        "symptoms": {
            symptom: {
                "catalogue": old.symptoms.get(symptom, 0.0),
                "in_use": round(current.symptoms.get(symptom, 0.0), 4),
                "if_accepted": round(value, 4),
            }
            for symptom, value in new.symptoms.items()
            if abs(value - old.symptoms.get(symptom, 0.0)) >= 0.01
        },
        "remedies": remedies,
    }


def _show(answer: dict[str, Any]) -> None:
    click.echo(
        f"{answer['confirmed']} confirmed causes, {answer['used']} of them in use (diagnose.learning is "
        f"“{answer['learning']}”; at least {answer['needed']} are needed)."
    )
    for row in answer["faults"]:
        prior = row["prior"]
        click.secho(f"{row['fault']}  {row['confirmed']} times", bold=True)
        click.echo(
            f"    prior {prior['catalogue']:.3g}, in use {prior['in_use']:.3g}, all accepted {prior['if_accepted']:.3g}"
        )
        for symptom, value in row["symptoms"].items():
            click.echo(
                f"    {symptom} {value['catalogue']:.2f}, in use {value['in_use']:.2f}, "
                f"all accepted {value['if_accepted']:.2f}"
            )
        for remedy, times in row["remedies"].items():
            click.echo(f"    {remedy}: {times} times")
    place = None
    for path in answer["paths"]:
        if place != (path["fault"], path["disturbed"]):
            place = path["fault"], path["disturbed"]
            click.secho(
                f"{path['fault']} of {path['disturbed']}  disturbed in {_times(path['runs'], 'run')}, "
                f"{path['runs_in_use']} of them in use",
                bold=True,
            )
        click.echo(
            f"    {path['symptom']} on {path['shows_on']} in {path['raised']} of {path['runs']}, "
            f"after {path['after_s']:.0f} s in the mean"
        )
    for call in answer["calls"]:
        click.secho(f"{call['caller']} calls {call['called']}", bold=True)
        click.echo(
            f"    nobody told of it: it felt {_times(call['runs'], 'run')} that disturbed the other; "
            f"{call['runs_in_use']} of them in use"
        )
    if (answer["faults"] or answer["paths"]) and answer["learning"] == "accepted":
        click.echo("kt knowledge accept FAULT … or --all puts it to use; kt knowledge forget FAULT … drops it.")


def _times(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


@click.command()
@click.argument("faults", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that was learned until now.")
@click.pass_obj
def accept(config: Path | None, faults: Sequence[str], everything: bool) -> None:
    """Let what was learned of FAULTS until now count in diagnoses. What comes later has to be accepted anew."""
    from diagnose.learning import Counts

    taught = Taught(config)
    part, names = _chosen(taught, faults, everything)
    taught.store.merge(Counts(accepted=part))
    click.echo(f"Accepted what was learned of {', '.join(names)}.")


@click.command()
@click.argument("faults", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that was learned until now.")
@click.pass_obj
def forget(config: Path | None, faults: Sequence[str], everything: bool) -> None:
    """Drop what was learned of FAULTS until now, here and wherever these counts are merged."""
    from diagnose.learning import Counts

    taught = Taught(config)
    part, names = _chosen(taught, faults, everything)
    taught.store.merge(Counts(forgotten=part))
    click.echo(f"Forgot what was learned of {', '.join(names)}.")


def _chosen(taught: Taught, faults: Sequence[str], everything: bool) -> tuple[Counter, list[str]]:
    from diagnose.learning import about, fault_of

    known = sorted({fault_of(key) for key in taught.counts.seen})
    if bool(faults) == everything:
        raise click.UsageError("name the faults, or give --all; `kt knowledge diff` shows what was learned")
    unknown = sorted(set(faults) - set(known))
    if unknown:
        raise click.UsageError(f"nothing was learned of {', '.join(unknown)}; `kt knowledge diff` shows what was")
    names = known if everything else sorted(faults)
    if not names:
        raise click.UsageError("nothing was learned yet")
    return about(taught.counts, names), names


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--paths", is_flag=True, help="What runs of chaos raised where, too: it names things of this cluster.")
@click.pass_obj
def export(config: Path | None, file: Path, paths: bool) -> None:
    """Write the counts of this site, and those that it took in, to FILE. They name faults, kinds and playbooks only."""
    import msgspec

    from diagnose.propagation import is_path
    from kt.commands.files import write

    counts = Taught(config).counts
    if not paths:
        parts = {name: getattr(counts, name) for name in ("seen", "accepted", "forgotten")}
        kept = {name: {key: each for key, each in part.items() if not is_path(key)} for name, part in parts.items()}
        counts = msgspec.structs.replace(counts, **kept)
    write(file, msgspec.json.format(msgspec.json.encode(counts)))
    click.echo(f"Written to {file}; `kt knowledge merge` takes it in elsewhere.")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def merge(config: Path | None, files: Sequence[Path]) -> None:
    """Take in the counts in FILES, in any order, as often as you like: each is counted once."""
    import msgspec

    from diagnose.learning import Counts

    taught = Taught(config)
    for file in files:
        try:
            counts = msgspec.json.decode(file.read_bytes(), type=Counts)
        except OSError as error:
            raise click.UsageError(f"{file} cannot be read: {error.strerror or error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{file} is not what `kt knowledge export` writes: {error}") from error
        _check(file, counts)
        taught.store.merge(counts)
    click.echo(
        f"Took in {len(files)} file{'s' if len(files) > 1 else ''}; `kt knowledge diff` shows what is known now."
    )


def _check(file: Path, counts: Counts) -> None:
    """Counts that could not have been counted are refused: a counter that is merged in can never be taken out."""
    for name, counter in (("seen", counts.seen), ("accepted", counts.accepted), ("forgotten", counts.forgotten)):
        for key, by_site in counter.items():
            if key.count("|") < 1 or any(count < 0 for count in by_site.values()):
                raise click.UsageError(
                    f"{file}: {name}: “{key}” is no count; expected is what `kt knowledge export` writes"
                )


COMMANDS = (diff, accept, forget, export, merge)
