"""The whole loop on real servers, several times for each fault: how long each part of it takes.

Injection → alert is the time of Prometheus' rules and Alertmanager's grouping (the testbed's, a few seconds each), the
rest is KT's. Own overhead: from the webhook's receipt to the first write that the API server saw of KT, approval
automatic; the time that KT waits on purpose for the rest of a burst (`pipeline.settle_s`) is part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import testbed.servers
from kt.incident.events import AlertsReceived, Diagnosed, Healed, VerificationStarted
from kt.pipeline.journey import Journey
from testbed.kubernetes import audit
from testbed.shop.faults import FAULTS
from tests.conftest import emptied, in_neo4j
from tests.e2e.installation import until
from tests.e2e.real import HEALED_S, SERVERS, beside_the_cluster, events

CAUSES = {
    "bad-rollout": ("Deployment/shop/cart", ("Workload.BadRevision",)),
    "overload": ("Deployment/shop/catalogue", ("Workload.Overload",)),
    "node-down": ("Node/kt-node-2", ("Node.NotReady", "Node.Unreachable")),
}
PARTS = ("injection_to_alert", "alert_to_cause", "cause_to_action", "action_to_quiet", "quiet_to_verified")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each fault")
    parser.add_argument("--faults", default=",".join(FAULTS), help="comma-separated")
    options = parser.parse_args()
    variables = testbed.servers.ensure(SERVERS)
    found: list[dict[str, Any]] = []
    for fault in options.faults.split(","):
        for number in range(options.runs):
            with tempfile.TemporaryDirectory(prefix="kt-loop-") as folder:
                found.append(_run(Path(folder), variables, fault))
            _say(f"{fault} {number + 1}/{options.runs}: {json.dumps(found[-1])}")
    for fault in dict.fromkeys(each["fault"] for each in found):
        _table(fault, [each for each in found if each["fault"] == fault])
    print(json.dumps(_summary(found)))
    return 0 if all(each["healed"] for each in found) else 1


def _run(folder: Path, variables: dict[str, str], fault: str) -> dict[str, Any]:
    # What the processes of KT print is in their logs; a benchmark prints its figures only.
    with contextlib.redirect_stdout(sys.stderr), beside_the_cluster(folder, variables, _memory(variables)) as kt:
        kt.start("worker")
        until(kt.swept, "a worker works")
        injected = datetime.now(UTC)
        FAULTS[fault]()
        with contextlib.suppress(AssertionError):
            until(kt.ended, "every incident ends", seconds=HEALED_S)
        entity, modes = CAUSES[fault]
        journey = kt.cause(entity)
        cause = next(journey.state.diagnosis.selected(), None) if journey and journey.state.diagnosis else None
        healed = bool(journey and journey.state.phase == "healed" and cause and cause.fault in modes)
        times = _times(journey, injected) if journey and healed else {"told": kt.told()}
        return {"fault": fault, "healed": healed, **times}


def _memory(variables: dict[str, str]) -> dict[str, str]:
    """The settings that keep KT's memory in Neo4j, with nothing left there of the run before."""
    return in_neo4j(emptied(variables["KT_TEST_NEO4J_URI"]))


def _times(journey: Journey, injected: datetime) -> dict[str, float]:
    """Seconds of each part, of the whole, and of KT's own overhead."""
    state = journey.state
    received = next(each.received_at or each.at for each in events(journey, AlertsReceived))
    cause = events(journey, Diagnosed)[0].at
    acted = next((write.at for write in audit.writes("kt", received)), cause)
    quiet = events(journey, VerificationStarted)[-1].at
    ended = events(journey, Healed)[-1].at
    marks = [injected, received, cause, acted, quiet, ended]
    parts = {
        name: round((later - earlier).total_seconds(), 3)
        for name, earlier, later in zip(PARTS, marks, marks[1:], strict=False)
    }
    whole = {"mttr_s": (ended - injected).total_seconds(), "own_overhead_s": (acted - received).total_seconds()}
    return parts | {name: round(value, 3) for name, value in whole.items()} | {"experiments": state.verifications}


def _table(fault: str, runs: list[dict[str, Any]]) -> None:
    whole = [each for each in runs if each["healed"]]
    print(f"{fault}: {len(whole)} of {len(runs)} healed")
    for name in (*PARTS, "mttr_s", "own_overhead_s") if whole else ():
        values = [each[name] for each in whole]
        print(f"  {name:<20} median {statistics.median(values):8.2f} s   worst {max(values):8.2f} s")


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    whole = [each for each in runs if each["healed"]]

    def median(name: str) -> float | None:
        return round(statistics.median(each[name] for each in whole), 3) if whole else None

    return {
        "healed": len(whole),
        "runs": len(runs),
        "own_overhead_s": median("own_overhead_s"),
        "mttr_s": median("mttr_s"),
        **{f"{name}_s": median(name) for name in PARTS},
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
