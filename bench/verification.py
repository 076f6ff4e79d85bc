"""What verification costs: seconds and processor time for each incident, and KT's share of the CPU during a chaos run.

KT runs as users run it (`kt serve --embedded`), against the twin, which runs in the process of the benchmark.

Of an incident (`--incidents` of each fault): the time from the end of the action to healed, against the time when its
alerts were gone, which is when one would be done who believes every fix. The wait for quiet (`pipeline.verify_quiet_s`)
and the experiment are told apart; so is the processor time of KT itself and that of the experiments' processes.

Of a chaos run: one experiment that takes the replicas of a workload away for `--seconds`, three times each: nothing
(KT waits), `chaos run` alone with no KT at all, and the same as a scheduled run of KT. Shares are of one core.

    python -m bench.verification

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.overhead import environment_of, start, until, url_of, wait_for_all
from kt.chaos.model import Run, What
from kt.incident.events import ActionFinished, Healed, VerificationStarted, Verified
from kt.pipeline.journey import Journey
from kt.settings import Settings, load
from kt.stores.places import open_chaos, open_log
from twin.server import Twin
from verify import plain

SPEED = 5.0
FAULTS = ("bad-rollout", "overload")
ROUNDS = 3
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
POLL_S = 0.02


class Used(msgspec.Struct, frozen=True):
    """Processor seconds of a process, and of its children that have ended."""

    own: float
    children: float

    def since(self, before: Used) -> Used:
        return Used(self.own - before.own, self.children - before.children)


class Installed(msgspec.Struct, frozen=True):
    twin: Twin
    settings: Settings
    pid: int
    environment: dict[str, str]

    def used(self) -> Used:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        own, system, children, theirs = (int(each) * TICK_S for each in fields[11:15])
        return Used(own + system, children + theirs)


@contextlib.contextmanager
def installed(seed: int, **more: str) -> Iterator[Installed]:
    """A fresh twin, and a fresh KT that follows it."""
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="kt-bench-")))
        twin = Twin(seed=seed, speed=SPEED)
        twin.start()
        ending.callback(twin.stop)
        environment = environment_of(folder, twin, KT_APPROVAL__MEDIUM="0", **more)
        settings = load(None, environment)
        process = start(ending, folder, ["serve", "--embedded"], environment)
        url = url_of(folder)
        twin.notify(url, None)
        wait_for_all(settings)
        yield Installed(twin, settings, process.pid, environment)


def incident(fault: str, seed: int) -> dict[str, float]:
    """Seconds after the action: until its alerts were gone, of the wait for quiet, of the experiment, to the end."""
    with installed(seed) as kt, contextlib.closing(open_log(kt.settings)) as log:
        before = kt.used()
        kt.twin.inject(fault)

        def healed() -> bool:
            return any(entry.phase in ("healed", "escalated") for entry in log.entries())

        until(healed, "the incident ends", POLL_S)
        used = kt.used().since(before)
        (entry, *_) = [each for each in log.entries() if each.phase in ("healed", "escalated")]
        events = [record.event for record in Journey(log, entry.incident).records]
        if not isinstance(events[-1], Healed):
            raise SystemExit(f"{fault} ended otherwise than healed: {entry.summary}")
        at = {type(each): each.at.timestamp() for each in events}
        quiet_s = kt.settings.pipeline.verify_quiet_s
        acted, begun = at[ActionFinished], at[VerificationStarted]
        gone = max(acted, begun - quiet_s)
        return {
            "alerts_gone": gone - acted,
            "quiet": begun - gone,
            "experiment": at[Verified] - begun,
            "healed": at[Healed] - acted,
            "added": at[Healed] - gone,
            "cpu_kt": used.own,
            "cpu_experiment": used.children,
        }


def experiment(environment: dict[str, str], seconds: float) -> str:
    """The template of a fault mode that takes all replicas of a workload away, without its steady state."""
    values = {"namespace": "shop", "workload": "store", "pod_selector": "app=store", "seconds": seconds}
    given = [part for name, value in values.items() for part in ("--var", f"{name}={value}")]
    line = [sys.executable, "-c", "from kt.cli import main; main()", "chaos", "templates", "show"]
    command = [*line, "Workload.ScaledToZero", *given]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return answer.stdout


def chaos(seconds: float, seed: int) -> dict[str, float]:
    """Processor seconds per second: of KT while it waits, of `chaos run` alone, of both in a run by KT."""
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as name, contextlib.ExitStack() as ending:
        folder, twin = Path(name), Twin(seed=seed, speed=SPEED)
        twin.start()
        ending.callback(twin.stop)
        around = {**os.environ, "KUBECONFIG": str(twin.kubeconfig)}
        file = folder / "experiment.json"
        file.write_text(experiment(around, seconds))
        begun, before = time.monotonic(), os.times()
        command = ["-m", "chaostoolkit", "--no-version-check", "--no-log-file", "run", "--rollback-strategy=always"]
        subprocess.run(
            [sys.executable, *command, str(file)], env=around, cwd=folder, check=False, capture_output=True,
        )  # fmt: skip
        after, alone_s = os.times(), time.monotonic() - begun
        alone = after.children_user + after.children_system - before.children_user - before.children_system
    opted = {"KT_CHAOS__ENABLED": "true", "KT_CHAOS__WITH_OPEN_INCIDENTS": "true"}
    with installed(seed, **opted) as kt, contextlib.closing(open_chaos(kt.settings)) as store:
        with kt.twin.cluster.lock:
            kt.twin.cluster.store.edit("Namespace", "shop", "", _opted_in)
        begun, idle = time.monotonic(), kt.used()
        until(lambda: time.monotonic() - begun >= seconds, "a while passes", POLL_S)
        waited_s, waiting = time.monotonic() - begun, kt.used().since(idle)
        text, now = experiment(kt.environment, seconds), datetime.now(UTC)
        what = What(name="bench", plain=plain.Plain(text=text, format="json", source="bench.json"))
        begun, before_run = time.monotonic(), kt.used()
        store.commit(Run(id="bench", what=what, due_at=now, claimed_at=now))

        def over() -> bool:
            found = store.run("bench")
            return found is not None and not found.open

        until(over, "the run ends", POLL_S)
        took_s, used = time.monotonic() - begun, kt.used().since(before_run)
        ran = store.run("bench")
        if ran is None or ran.outcome not in ("held", "inconclusive"):
            raise SystemExit(f"the run ended otherwise than it should: {ran.why if ran else 'it is gone'}")
    return {
        "kt_waiting": waiting.own / waited_s,
        "kt_in_run": used.own / took_s,
        "toolkit_in_run": used.children / took_s,
        "toolkit_alone": alone / alone_s,
        "run_s": took_s,
        "alone_s": alone_s,
        "cpu_kt_s": used.own,
        "cpu_toolkit_s": used.children,
        "cpu_alone_s": alone,
    }


def _opted_in(draft: dict[str, dict[str, dict[str, str]]]) -> None:
    draft["metadata"].setdefault("labels", {})["kt.io/chaos"] = "enabled"


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=ROUNDS, help="of each fault")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the disturbance of a chaos run lasts")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the chaos run")
    given = parser.parse_args()
    answer: dict[str, object] = {}
    print("seconds after the action, and processor seconds, medians")
    every: list[dict[str, float]] = []
    for fault in FAULTS:
        rows = [incident(fault, seed) for seed in range(3, 3 + given.incidents)]
        every += rows
        answer[fault] = medians(rows)
        print(f"  {fault:12s} " + "  ".join(f"{name} {value:.2f}" for name, value in medians(rows).items()))
    runs = medians([chaos(given.seconds, 3 + number) for number in range(given.rounds)])
    print("a chaos run, shares of one core and seconds, medians")
    print("  " + "  ".join(f"{name} {value:.3f}" for name, value in runs.items()))
    whole = medians(every)
    figures = {
        "verification_s": whole["added"],
        "worst_verification_s": round(max(row["added"] for row in every), 3),
        "verification_cpu_s": whole["cpu_experiment"],
        "kt_cpu_share_in_run": runs["kt_in_run"],
        "kt_cpu_share_waiting": runs["kt_waiting"],
        "incidents": len(every),
        "rounds": given.rounds,
    }
    print(json.dumps({**figures, "chaos_run": runs, **answer}))


if __name__ == "__main__":
    main()
