"""How often lines of trouble are held to be news on quiet time: false alarms of the templates of logs.

Programs complain while all is well, some at a steady pace and some in bursts. Any moment of quiet time is taken for an
onset, as if an alert had come then; what is told of that moment is false. Measured on made-up lines (a Poisson process,
and bursts of about ten lines at random moments) and on files that are given, such as what Kubernetes' components of the
testbed wrote while nothing was broken. Beside it the simplest rule: a template that was not there in the ten minutes
before is news.

    python -m bench.quiet_logs [--logs L.jsonl ...]
    python -m bench.quiet_logs --record FOLDER > L.jsonl

`--record` makes such a file out of the logs of running servers (klog, logfmt, or a time at the beginning); only lines
of trouble and the first and last line of each are kept, from `--since` on. Prints a table and, as its last line, one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from kt.pipeline.written import LOOK_BACK
from sense.logs import LEAST, LONGEST, Collecting, LogRules, Logs, read, templates

AFTER_S = (15.0, 60.0, 300.0)
"""For how long after the onset lines are known when it is judged."""
ONSETS = 100
"""Moments that are taken for an onset, evenly over the time that is there."""
BEFORE_S = LOOK_BACK.total_seconds()
RATES = (0.002, 0.02, 0.2)
"""Lines a second of each made-up program."""
PROGRAMS, LASTS_S, BURST = 20, 7200.0, 10
KLOG = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d+)")
STAMP = re.compile(r'(?:time=|ts=)?"?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d:?\d\d)?')


class Counted(msgspec.Struct):
    windows: int = 0
    """(entity, onset) with any line around it."""
    told: int = 0
    sure: int = 0
    """Told with half of the strength or more."""
    new: int = 0
    """Where the simplest rule would have told."""


def measure(logs: Logs, after_s: float) -> Counted:
    """What is told of each entity at each onset."""
    found = Counted()
    for entity, (first, last) in sorted(logs.spans.items()):
        mine = Logs({key: times for key, times in logs.troubles.items() if key[0] == entity}, {entity: (first, last)})
        if last - first < BEFORE_S + after_s:
            continue
        for onset in np.linspace(first + BEFORE_S, last - after_s, ONSETS):
            # Nothing after the moment of the diagnosis is known then.
            known = Logs(mine.troubles, {entity: (first, min(last, onset + after_s))})
            strengths = [each.strength for each in templates(known, float(onset), before_s=BEFORE_S, after_s=after_s)]
            found.windows += 1
            found.told += any(each >= LEAST for each in strengths)
            found.sure += any(each >= 0.5 for each in strengths)
            found.new += any(each.before == 0 for each in _every(known, float(onset), after_s))
    return found


class _Seen(msgspec.Struct):
    before: int


def _every(logs: Logs, onset: float, after_s: float) -> Iterator[_Seen]:
    for times in logs.troubles.values():
        if any(onset <= at < onset + after_s for at in times):
            yield _Seen(sum(onset - BEFORE_S <= at < onset for at in times))


def made_up(rate: float, chance: random.Random, *, bursts: bool) -> Logs:
    """Programs that complain at this rate, none of it news."""
    found = Collecting(LogRules.load())
    for number in range(PROGRAMS):
        name, at = f"program-{number}", 0.0
        found.watched(name, 0.0, LASTS_S)
        while (at := at + chance.expovariate(rate / BURST if bursts else rate)) < LASTS_S:
            for extra in range(chance.randint(1, 2 * BURST - 1) if bursts else 1):
                found.line(name, min(LASTS_S, at + 0.1 * extra), f"ERROR call {extra} of the cache failed")
    return found.logs


def record(folder: Path, since: float) -> Iterator[str]:
    """JSON lines out of the log files of a folder, an entity for each."""
    rules = LogRules.load()
    for file in sorted(folder.rglob("*.log")):
        timed = [
            (at, line) for line in file.read_text(errors="replace").splitlines() if (at := _time(line)) and at >= since
        ]
        for place, (at, line) in enumerate(timed):
            if place in (0, len(timed) - 1) or rules.trouble(line):
                yield json.dumps({"timestamp": at, "entity": file.stem, "message": line[:LONGEST]})


def _time(line: str) -> float | None:
    if (klog := KLOG.match(line)) is not None:
        month, day, rest = klog.groups()
        return datetime.fromisoformat(f"{datetime.now(UTC).year}-{month}-{day}T{rest}+00:00").timestamp()
    stamp = STAMP.match(line)
    if stamp is None:
        return None
    zone = (stamp[2] or "Z").replace("Z", "+00:00")
    return datetime.fromisoformat(stamp[1].replace(" ", "T") + zone).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, nargs="+", help="Quiet time, as `kt diagnose --logs` takes it.")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="Print such a file out of logs of servers.")
    parser.add_argument("--since", type=datetime.fromisoformat, metavar="TIME", help="RFC 3339; with --record.")
    given = parser.parse_args()
    if given.record:
        since = given.since.timestamp() if given.since else 0.0
        sys.stdout.writelines(f"{line}\n" for line in record(given.record, since))
        return
    rules = LogRules.load()
    chance = random.Random(1)
    sources = {file.name: read(file, rules) for file in given.logs or ()}
    for rate in RATES:
        sources[f"Poisson, {rate:g} a second"] = made_up(rate, chance, bursts=False)
        sources[f"bursts, {rate:g} a second"] = made_up(rate, chance, bursts=True)
    print(f"{'':34}{'after':>7}{'windows':>9}{'told':>8}{'sure':>8}{'new is news':>13}")
    figures = {name: dict(_rows(name, logs)) for name, logs in sources.items()}
    print(json.dumps({"false_alarms": figures, "least": LEAST, "onsets": ONSETS}))


def _rows(name: str, logs: Logs) -> Iterable[tuple[str, list[float]]]:
    for after_s in AFTER_S:
        found = measure(logs, after_s)
        shares = [round(each / max(1, found.windows), 4) for each in (found.told, found.sure, found.new)]
        told, sure, new = shares
        print(f"{name:34}{after_s:5.0f} s{found.windows:9d}{told:8.3f}{sure:8.3f}{new:13.3f}", flush=True)
        yield f"{after_s:g}", shares


if __name__ == "__main__":
    main()
