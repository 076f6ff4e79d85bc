"""Workers of `bench.stress`: forked from one process that has loaded everything, so that they can be killed freely."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from graph_schema.model import Signal
from kt.incident.events import Healed, Verified
from kt.pipeline.app import Pipeline
from kt.pipeline.journey import Held, Journey
from kt.runtime import Runtime
from kt.settings import load
from verify.steady import SymptomCheck
from verify.verdict import Verdict

REGRESSED_OF = 4
"""One of so many fixes does not hold."""
WIDER_S = 0.03
"""At most so long a worker dwells before and after a write: where a kill hurts most."""


def lot(name: str, of: int) -> bool:
    """Drawn by the name, so that whoever takes over draws the same."""
    return zlib.crc32(name.encode()) % of == 0


class Firing(SymptomCheck):
    """What fired still fires."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    def still_firing(self, signals: Iterable[Signal]) -> list[str]:
        return [signal.name for signal in signals]


class NoBroker:
    """Nothing is sent: the workers ask the log what is due."""

    def send_task(self, *_: Any, **__: Any) -> None:
        return


def work(runtime: Runtime) -> None:
    """Take what is due, for ever."""
    runtime.symptoms = Firing()
    rng = random.Random(os.getpid())
    runtime.cluster.patch = dwelling(runtime.cluster.patch, rng)  # type: ignore[method-assign]
    pipeline = Pipeline(runtime, NoBroker())

    def verdict(journey: Journey, lease: Held) -> None:
        now, state = datetime.now(UTC), journey.state
        if lot(f"{journey.incident}{len(state.actions)}", REGRESSED_OF):
            journey.append(Verified(at=now, verdict=Verdict(outcome="regressed", why="drawn by lot")))
            return
        for action in state.actions:
            if not action.undone:
                runtime.brakes.conclude(action.id, "held")
        journey.append(Healed(at=now, why="drawn by lot"))

    while True:
        due = runtime.log.due(datetime.now(UTC))
        rng.shuffle(due)
        for incident in due[:20]:
            stage = Journey(runtime.log, incident).state.next_step
            if stage == "remediate":
                pipeline.remediate(incident)
            elif stage == "verify":
                pipeline._step("verify", incident, verdict)
        time.sleep(0.05)


def dwelling(write: Callable[..., Any], rng: random.Random) -> Callable[..., Any]:
    def slowly(*where: Any, dry: bool = False, **how: Any) -> Any:
        if dry:
            return write(*where, dry=dry, **how)
        time.sleep(rng.random() * WIDER_S)
        try:
            return write(*where, **how)
        finally:
            time.sleep(rng.random() * WIDER_S)

    return slowly


def bear(work: Callable[[], None]) -> None:
    """For each line that is read one child that works, whose id is printed."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # Celery greets; what is told there are the ids of workers
            try:
                work()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        print(child, flush=True)


def main() -> None:
    import kubernetes.client
    import kubernetes.config  # noqa: F401 - before the fork: it takes seconds to load

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Catalogue and playbooks take long to read; stores and clients connect at first use, each child on its own.
    runtime = Runtime(load(None, os.environ))
    bear(lambda: work(runtime))


if __name__ == "__main__":
    main()
