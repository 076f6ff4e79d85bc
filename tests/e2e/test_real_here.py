"""Disturbances of the machine of a run, done to what really runs in the cluster: a claim's volume, a pod's resolver, a
kubelet, the way to the API server, and the API server's certificate.

Each is done by a process that is killed with SIGKILL as soon as it shows; another one takes it back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from testbed import processes
from testbed.kubernetes import certificates, cluster
from testbed.kubernetes.images import BUSYBOX
from tests.conftest import missing
from tests.contract.clusters import REAL, Api, Place, place_in
from tests.e2e.installation import until
from verify import actions

pytestmark = [pytest.mark.real("kubernetes"), pytest.mark.usefixtures("own_notes")]
WRITES = """while :; do
  if head -c 65536 /dev/zero >/data/next; then echo room; else echo full; fi >/said
  rm -f /data/next
  sleep 0.2
done"""


@pytest.fixture
def place(kubeconfig: str) -> Iterator[Place]:
    with place_in(kubeconfig, REAL) as here:
        yield here


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "kt-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def writer(place: Place, volume: Path) -> Iterator[Path]:
    """A pod that writes to its claim; the root of its files, as this machine sees them."""
    name = place.namespace
    about = {"storageClassName": "", "accessModes": ["ReadWriteOnce"]}
    persistent = {
        "metadata": {"name": name},
        "spec": {**about, "capacity": {"storage": "8Mi"}, "hostPath": {"path": str(volume)}},
    }
    place.api.must("POST", "/api/v1/persistentvolumes", persistent)
    wanted = {**about, "volumeName": name, "resources": {"requests": {"storage": "8Mi"}}}
    place.api.must(
        "POST", f"{place.core}/persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": wanted}
    )  # fmt: skip
    container = {
        "name": "writer", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", WRITES],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    spec = {
        "containers": [container],
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    place.api.must("POST", f"{place.core}/pods", {"metadata": {"name": "writer"}, "spec": spec})
    try:
        until(lambda: place.get("Pod", "writer").get("status", {}).get("phase") == "Running", "the pod runs")
        uid = place.get("Pod", "writer")["metadata"]["uid"]
        until(lambda: _root_of(uid) is not None, "its process is there")
        root = _root_of(uid)
        assert root
        until(lambda: said(root) == "room", "it writes")
        yield root
    finally:
        place.api.must("DELETE", f"{place.core}/pods/writer")
        place.api.must("DELETE", f"/api/v1/persistentvolumes/{name}")


def _root_of(uid: str) -> Path | None:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (
                uid.replace("-", "_") in (entry / "cgroup").read_text().replace("-", "_")
                and b"/data/next" in (entry / "cmdline").read_bytes()
            ):
                return entry / "root"
        except OSError:
            continue
    return None


def said(root: Path) -> str:
    return (root / "said").read_text().strip()


DISTURBS = """import json, signal, sys
from verify import actions
getattr(actions, sys.argv[1])(*json.loads(sys.argv[2]), **json.loads(sys.argv[3]))
signal.pause()"""


def killed_at_it(shows: Callable[[], bool], action: str, *given: str, **more: object) -> None:
    """Somebody disturbs, and is killed as soon as that shows."""
    words = [action, json.dumps(given), json.dumps(more)]
    with subprocess.Popen([sys.executable, "-c", DISTURBS, *words]) as runner:
        try:
            until(lambda: runner.poll() is not None or shows(), f"{action} shows")
            assert runner.poll() is None, f"{action} failed"
        finally:
            runner.kill()
    assert shows(), "it goes on without whoever did it"


def test_the_volume_of_a_claim_is_full_for_its_pod_and_has_room_again(writer: Path, volume: Path) -> None:
    killed_at_it(lambda: said(writer) == "full", "fill_volume", "claim", str(volume))
    assert actions.restore_here("claim")["restored"]
    until(lambda: said(writer) == "room", "the pod writes again")


def test_the_resolver_of_a_pod_asks_nobody_and_then_as_before(writer: Path) -> None:
    resolver = writer / "etc" / "resolv.conf"
    before = resolver.read_text()
    killed_at_it(lambda: "192.0.2.1" in resolver.read_text(), "fail_dns", "dns", str(resolver))
    assert actions.restore_here("dns")["restored"]
    assert resolver.read_text() == before


def test_a_real_api_server_answers_through_the_slow_way_and_directly_again(kubeconfig: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    before = Path(kubeconfig).read_text()
    file.write_text(before)
    actions.slow_api_server("api", str(file), delay_ms=50)
    slow = Api(file)
    assert slow.host.startswith("https://127.0.0.1:")
    assert slow.host != Api(kubeconfig).host
    # Over the proxy the server still has to show the certificate of its own name.
    assert slow.must("GET", "/version")["gitVersion"]
    actions.restore_here("api")
    assert file.read_text() == before
    killed_at_it(lambda: file.read_text() != before, "slow_api_server", "api", str(file), delay_ms=50)
    assert actions.restore_here("api")["restored"]
    assert Api(file).must("GET", "/version")["gitVersion"], "nobody is sent to a proxy that is no more"


def ready(kubeconfig: str, node: str) -> str:
    with cluster.Api(Path(kubeconfig)) as api:
        conditions = api.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return next(str(each["status"]) for each in conditions if each["type"] == "Ready")


@pytest.mark.whole_cluster
@pytest.mark.alone_in_cluster
def test_a_kubelet_stands_still_and_goes_on_again(kubeconfig: str, tmp_path: Path) -> None:
    kubelet, node = processes.find("kubelet-2"), cluster.NODES[1].name
    if kubelet is None:
        missing("a cluster of the testbed's own: of another one the kubelets are not on this machine")
    (tmp_path / "pid").write_text(str(kubelet.pid))
    killed_at_it(lambda: ready(kubeconfig, node) != "True", "freeze_process", "kubelet", pid_file=str(tmp_path / "pid"))
    assert actions.restore_here("kubelet")["restored"]
    until(lambda: ready(kubeconfig, node) == "True", "the node is ready again")


def refused(kubeconfig: str) -> str:
    """Why a new client does not trust the API server; nothing when it does."""
    try:
        with cluster.Api(Path(kubeconfig)) as one:
            one.get("/version")
    except httpx.ConnectError as error:
        return str(error)
    return ""


@pytest.mark.whole_cluster
@pytest.mark.alone_in_cluster
def test_the_api_server_shows_an_expired_certificate_and_then_its_own(kubeconfig: str) -> None:
    found = certificates.places(Path(kubeconfig).parent)
    if not found.authority_key.exists():
        missing("a cluster of the testbed's own: of another one the authority's key is not known")
    before = found.served.read_text()
    given = [found.served, found.served_key, found.authority, found.authority_key]
    killed_at_it(
        lambda: "certificate has expired" in refused(kubeconfig), "expire_certificate", "api-server", *map(str, given)
    )
    assert actions.restore_here("api-server")["restored"]
    assert found.served.read_text() == before
    until(lambda: not refused(kubeconfig), "the API server shows its own again")
