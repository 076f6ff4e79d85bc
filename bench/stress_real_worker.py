"""Workers of `bench.stress --real`: Celery's, as `kt worker` starts them, forked so that they can be killed freely.

Of an experiment only the journal is there, drawn by lot: its process takes seconds of a processor to start, and what
is looked at is who acts when. Everything else of the verification is done.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.stress_worker import REGRESSED_OF, bear, dwelling, lot
from kt.pipeline.app import STAGES, create_app
from kt.runtime import Runtime
from kt.settings import load
from kt.telemetry import configure_logs
from verify import runner

THREADS = 4


def journal(experiment: Mapping[str, Any], workdir: Path, **_: Any) -> dict[str, Any]:
    """Of an experiment after which all was well, or, by lot of incident and attempt, was not."""
    lost = lot(f"{workdir.parent.name}{workdir.name}", REGRESSED_OF)
    probe = {"activity": {"name": "drawn by lot"}, "status": "succeeded", "tolerance_met": not lost, "output": not lost}
    return {
        "status": "completed", "deviated": lost, "experiment": {**experiment, "rollbacks": []}, "rollbacks": [],
        "steady_states": {"before": {"steady_state_met": True, "probes": []},
                          "after": {"steady_state_met": not lost, "probes": [probe]}},
        "run": [{"activity": {"name": "drawn by lot"}, "status": "succeeded", "output": None}],
    }  # fmt: skip


def work(runtime: Runtime) -> None:
    """As `kt worker`, for ever."""
    rng = random.Random(os.getpid())
    runtime.cluster.patch = dwelling(runtime.cluster.patch, rng)  # type: ignore[method-assign]
    app = create_app(runtime)
    app.set_default()
    app.worker_main(
        ["worker", "--pool=threads", f"--concurrency={THREADS}", "--loglevel=WARNING", "--without-gossip",
         "--without-mingle", f"--queues={','.join(STAGES)}", f"--hostname=kt-{os.getpid()}@%h"]
    )  # fmt: skip


def main() -> None:

    import sense.kubernetes.events  # noqa: F401 - before the fork: all of these take seconds to load

    configure_logs()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    runner.run = journal
    runtime = Runtime(load(None, os.environ))
    bear(lambda: work(runtime))


if __name__ == "__main__":
    main()
