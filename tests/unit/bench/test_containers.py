"""The recorder of container states, on a twin whose time runs fast: what it writes is what the bench reads."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import containers
from bench.containers import Images, Moments, Recording, label, read, record
from bench.termination import recorded
from remediate.cluster import Cluster, Object
from twin.server import Twin

SPEED = 60.0


@pytest.fixture(scope="module")
def recording() -> Recording:
    from kubernetes import config

    twin = Twin(speed=SPEED).start()
    try:
        with twin.cluster.lock:
            twin.cluster.store.create("Namespace", {"metadata": {"name": containers.NAMESPACE}})
        client: Any = config.new_client_from_config(str(twin.kubeconfig))  # type: ignore[no-untyped-call]  # no types
        pause = threading.Event()

        def wait(seconds: float) -> None:
            pause.wait(seconds / SPEED)

        times = Moments(twin.now, wait)
        images = Images("busybox:testbed", "shop:missing", "IfNotPresent")
        return record(Cluster(client, 10.0), images, times, pods=16, warm_s=120, ahead_s=120, rng=random.Random(5))
    finally:
        twin.stop()


def test_each_container_has_its_state_and_its_label(recording: Recording) -> None:
    assert len(recording.containers) == 16
    for each in recording.containers:
        assert each.pod["metadata"]["namespace"] == containers.NAMESPACE
        assert each.pod["status"]["containerStatuses"]
    labels = {each.kind: each.invalid for each in recording.containers}
    assert labels["image missing"]
    assert labels["crash loop"]
    assert not labels["healthy"]


def test_what_is_written_is_read_and_judged(recording: Recording, tmp_path: Path) -> None:
    (tmp_path / "seed-5.json").write_bytes(msgspec.json.encode(recording))
    (back,) = read(tmp_path)
    assert back == recording
    found = list(recorded(back))
    assert [each.invalid for each in found] == [each.invalid for each in recording.containers]
    assert all(each.pod.age_s > 0 for each in found)
    assert {each.container.waiting for each in found} & {"CrashLoopBackOff", "ErrImagePull"}


def pod(*, ready: bool = True, restarts: int = 0) -> Object:
    return {"status": {"containerStatuses": [{"ready": ready, "restartCount": restarts}]}}


@pytest.mark.parametrize(
    ("after", "invalid"),
    [
        pytest.param([pod()] * 20, False, id="ready all the time"),
        pytest.param([pod(ready=False)] * 2 + [pod()] * 18, False, id="not ready for a tenth"),
        pytest.param([pod(ready=False)] * 3 + [pod()] * 17, True, id="not ready for more"),
        pytest.param([pod(restarts=1)] + [pod(restarts=2)] * 19, False, id="ends just after the look are over"),
        pytest.param([pod(restarts=1)] * 10 + [pod(restarts=2)] * 10, True, id="it ends again"),
        pytest.param([], True, id="gone"),
    ],
)
def test_a_label_is_what_became_of_it(after: list[Object], invalid: bool) -> None:
    assert label(pod(), after)[2] is invalid


def test_the_program_of_the_lives_is_one_that_a_shell_takes() -> None:
    shell = shutil.which("busybox")
    words = [shell, "sh"] if shell else ["sh"]
    done = subprocess.run([*words, "-n", "-c", containers.PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
