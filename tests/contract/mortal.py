"""Visits of an incident by processes that are killed at a given moment: right before KT's first write to the cluster,
or right after it.

    python -m tests.contract.mortal

reads one `Visit` a line, forks a process for each (all that is slow to import is imported once, and nothing else runs
in the process that forks), and answers with how it ended. Every write that the API server took is noted in the folder
of the incident, whoever made it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, TextIO

import msgspec
import structlog

from kt.pipeline.journey import Held, Journey
from kt.pipeline.stages import remediate, undo
from kt.runtime import Runtime
from kt.sections import Approval, Guard, Kubernetes
from kt.settings import Settings
from remediate.cluster import Object

INCIDENT = "i"
NOW = datetime(2100, 1, 1, tzinfo=UTC)
"""Late enough for every pod to be old: the twin's clock runs ahead of the wall's."""
REVIEWS = "selfsubjectaccessreviews"
Dies = Literal["before", "after", ""]


class Visit(msgspec.Struct, frozen=True):
    folder: str
    kubeconfig: str
    dies: Dies


class Write(msgspec.Struct, frozen=True):
    """What the API server took: nothing that was only tried, nothing that it refused."""

    method: str
    path: str


def runtime_of(folder: str, kubeconfig: str, dies: Dies = "") -> Runtime:
    """KT beside this cluster, with the guard's limits on time and amount out of the way."""
    guard = Guard(
        enabled=True, cooldown_s=0, max_share_of_workload=1.0, sibling_delay_s=0, max_share_of_nodes=1.0,
        max_share_of_node_group=1.0, storm_nodes=99, max_api_latency_s=1000,
    )  # fmt: skip
    settings = Settings(
        data_dir=folder, broker_url="memory://", kubernetes=Kubernetes(kubeconfig=kubeconfig), guard=guard,
        approval=Approval(low=0, medium=0, high=0),
    )  # fmt: skip
    runtime = Runtime(settings, lambda: NOW)
    runtime.cluster._ask = _noting(runtime.cluster._ask, Path(folder), dies)  # type: ignore[method-assign]
    return runtime


def visit(runtime: Runtime) -> Journey:
    """Take the incident as far as it goes now."""
    journey = Journey(runtime.log, INCIDENT)
    stage = remediate.run if journey.state.undo is None else undo.run
    stage(runtime, journey, Held(1))
    return journey


def writes(folder: Path) -> list[Write]:
    """In the order in which they were made."""
    noted = folder / "writes"
    return [msgspec.json.decode(line, type=Write) for line in noted.read_text().splitlines()] if noted.exists() else []


def _noting(ask: Callable[..., Any], folder: Path, dies: Dies) -> Callable[..., Any]:
    def asked(
        method: str, path: str, *, query: dict[str, str] | None = None, body: Any = None, into: Any = Object
    ) -> Any:
        if method == "GET" or path.endswith(REVIEWS) or _dry(query, body):
            return ask(method, path, query=query, body=body, into=into)
        if dies == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = ask(method, path, query=query, body=body)
        with (folder / "writes").open("ab") as noted:
            noted.write(msgspec.json.encode(Write(method, path)) + b"\n")
        if dies == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return asked


def _dry(query: dict[str, str] | None, body: Any) -> bool:
    options = body.get("deleteOptions", body) if isinstance(body, dict) else {}
    return "dryRun" in (query or {}) or "dryRun" in options


class Mortals:
    """The process that forks, in the hands of a test run."""

    def __init__(self) -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.mortal"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def visit(self, folder: Path, kubeconfig: str, dies: Dies) -> int:
        """The exit code: -9 when it was killed where it should be."""
        wanted, answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        wanted.write(msgspec.json.encode(Visit(str(folder), kubeconfig, dies)).decode() + "\n")
        wanted.flush()
        return int(json.loads(answers.readline()))

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait(10)
        _pipe(self._process.stdout).close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def main(wanted: TextIO, answers: TextIO) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    _warm()
    for line in wanted:
        given = msgspec.json.decode(line, type=Visit)
        child = os.fork()
        if child == 0:
            _live(given)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _live(given: Visit) -> NoReturn:
    try:
        visit(runtime_of(given.folder, given.kubeconfig, given.dies))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _warm() -> None:
    """What a process reads and imports once, so that those that are forked have it."""
    import kubernetes.client
    import kubernetes.config  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="kt-mortal-") as folder:
        Runtime(Settings(data_dir=folder, broker_url="memory://")).close()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
