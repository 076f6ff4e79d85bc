"""`kt undo` on a healed incident, with KT as processes on a real Redis: the twin's write log is the witness."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from kt.incident.events import RolledBack, UndoDropped, Undone
from tests.e2e.installation import until
from tests.e2e.on_twin import OnTwin, image
from twin.objects import Object
from twin.server import Twin


@pytest.fixture
def twin() -> Iterator[Twin]:
    one = Twin(seed=3, speed=5.0).start()
    yield one
    one.stop()


class Healed:
    """An installation whose first incident was healed by going back to the good image. `before`: the Deployment as it
    was right before that."""

    def __init__(self, kt: OnTwin) -> None:
        self.kt, self.twin = kt, kt.twin
        url = kt.serve()
        kt.start("beat")
        self.worker = kt.start("worker")
        self.twin.notify(url, None)
        until(lambda: kt.knows("Deployment/shop/cart"), "the beat follows the cluster")
        self.twin.inject("bad-rollout")
        until(lambda: kt.phase() in ("healed", "escalated"), "the incident ends")
        assert kt.phase() == "healed"
        journey = kt.journey()
        assert journey is not None
        self.incident = journey.incident
        (self.before,) = [each.before for each in self.writes() if each.before and _cured(each.before, each.object)]

    def writes(self) -> list[Any]:
        with self.twin.cluster.lock:
            found = self.twin.cluster.store.since("Deployment", 0)
        return [each for each in found if each.object["metadata"]["name"] == "cart"]

    def cart(self) -> Object:
        with self.twin.cluster.lock:
            return self.twin.cluster.store.get("Deployment", "cart", "shop")

    def brought_back(self) -> int:
        """How often the bad image came back, after it had come once."""
        return sum(1 for each in self.writes() if each.before and _cured(each.object, each.before)) - 1

    def undo(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.kt.run("undo", self.incident, *more)


def marks(thing: Object) -> dict[str, str]:
    """What KT has written onto it; its controller counts revisions there too."""
    return {key: value for key, value in thing["metadata"]["annotations"].items() if key.startswith("kt.io/")}


def _cured(before: Object, after: Object) -> bool:
    return image(before) == "shop:bad" and image(after) != "shop:bad"


@pytest.fixture
def healed(tmp_path: Path, redis_url: str, twin: Twin) -> Iterator[Healed]:
    redis.Redis.from_url(redis_url).flushall()
    kt = OnTwin(tmp_path, redis_url, twin, {})
    try:
        yield Healed(kt)
    finally:
        print(kt.output())
        kt.end()


def test_the_state_before_comes_back_once_though_the_worker_is_killed(healed: Healed) -> None:
    assert healed.undo("--why", "it was meant to be so", "--wait", "0").returncode == 0
    healed.worker.send_signal(signal.SIGKILL)
    healed.worker.wait()
    healed.kt.start("worker")
    until(lambda: healed.kt.phase() == "undone", "it is taken back")
    assert healed.cart()["spec"] == healed.before["spec"]
    assert [each.ok for each in healed.kt.events(RolledBack)] == [True]
    again = healed.undo()
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(healed.kt.events(Undone)) == 1
    assert healed.brought_back() == 1


def test_what_somebody_changed_since_is_told_and_nothing_is_touched(healed: Healed) -> None:
    def log_more(draft: Object) -> None:
        draft["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "LOG", "value": "debug"})

    with healed.twin.cluster.lock:
        healed.twin.cluster.store.edit("Deployment", "cart", "shop", log_more)
    changed = healed.cart()
    place = len(changed["spec"]["template"]["spec"]["containers"][0]["env"]) - 1
    field = f"/spec/template/spec/containers/0/env/{place}/value"

    said = healed.undo()
    assert said.returncode == 1
    assert "nothing was touched" in said.stdout
    assert f"{field}: KT left nothing, now debug" in said.stdout

    answer = healed.undo("--json")
    assert answer.returncode == 1
    told = json.loads(answer.stdout)
    assert not told["done"]
    assert {each["field"]: (each["left"], each["now"]) for each in told["differences"]}[field] == (None, "debug")

    assert healed.cart()["spec"] == changed["spec"]
    assert marks(healed.cart()) == marks(changed)
    assert healed.brought_back() == 0
    assert healed.kt.phase() == "healed"
    assert len(healed.kt.events(UndoDropped)) == 2
