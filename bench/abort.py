"""How long after an abort was asked for the disturbance of a run is undone, by the kind of activity that is on.

The time begins when the store has the request (`kt chaos abort` returns to waiting) and ends when the rollback has done
its work. A background activity keeps Chaos Toolkit from leaving: its processes are killed and a new one rolls back.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kt.chaos import running
from kt.chaos.model import Run, What
from kt.pipeline.journey import Held
from kt.runtime import Runtime
from kt.sections import Chaos, Kubernetes
from kt.settings import Settings
from verify.plain import Plain

ROUNDS = 3
GOAL_S = 2.0


def experiment(kind: str, folder: Path) -> dict[str, Any]:
    def shell(line: str) -> dict[str, Any]:
        return {"type": "process", "path": "sh", "arguments": ["-c", line]}

    begin: dict[str, Any] = {"type": "action", "name": "begin", "provider": shell(f"touch {folder / 'on'}")}
    lasting = {"type": "python", "module": "verify.actions", "func": "hold", "arguments": {"seconds": 60}}
    provider = shell("sleep 60") if kind != "python" else lasting
    last = {"type": "action", "name": "last", "background": kind == "background", "provider": provider}
    wait = {"type": "action", "name": "wait", "provider": shell("sleep 60")}
    undo = {"type": "action", "name": "undo", "provider": shell(f"touch {folder / 'undone'}")}
    return {"title": kind, "description": kind, "method": [begin, last, wait], "rollbacks": [undo]}


def measured(kind: str) -> float:
    """Seconds until the rollback has done its work."""
    with tempfile.TemporaryDirectory(prefix="kt-abort-") as name:
        folder, now = Path(name), datetime.now(UTC)
        runtime = Runtime(
            Settings(
                data_dir=str(folder / "data"),
                broker_url="memory://",
                kubernetes=Kubernetes(kubeconfig="none"),
                chaos=Chaos(enabled=True),
            )
        )
        text = Plain(text=json.dumps(experiment(kind, folder)), format="json", source="x.json")
        runtime.chaos.commit(Run(id="r", what=What(name=kind, plain=text), due_at=now, claimed_at=now))
        runner = threading.Thread(target=running.carry_on, args=(runtime, "r", Held(1)))
        runner.start()
        while not (folder / "on").exists():
            time.sleep(0.01)
        time.sleep(0.5)
        running.ask_to_end(runtime.chaos, "r", "bench")
        asked = time.monotonic()
        while not (folder / "undone").exists():
            time.sleep(0.01)
        took = time.monotonic() - asked
        runner.join()
        runtime.close()
    return took


def main() -> None:
    times = {kind: [measured(kind) for _ in range(ROUNDS)] for kind in ("process", "python", "background")}
    found = {f"{kind}_s": round(statistics.median(each), 2) for kind, each in times.items()}
    worst = round(max(max(each) for each in times.values()), 2)
    print(json.dumps({**found, "worst_s": worst, "goal_s": GOAL_S, "rounds": ROUNDS}))


if __name__ == "__main__":
    main()
