"""KT installed beside a twin: its processes and stores are real, its cluster is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import in_neo4j
from tests.e2e.installation import Installation
from twin.server import Twin


def stored(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of the store that a fixture's parameter names: sqlite or neo4j."""
    return in_neo4j(request.getfixturevalue("empty_neo4j")) if request.param == "neo4j" else {}


class OnTwin(Installation):
    """An installation that heals a twin."""

    def __init__(self, folder: Path, redis_url: str, twin: Twin, settings: Mapping[str, str]) -> None:
        own = {
            "KT_BROKER_URL": redis_url,
            "KT_KUBERNETES__KUBECONFIG": str(twin.kubeconfig),
            "KT_PROMETHEUS__URL": twin.prometheus_url,
            "KT_GUARD__ENABLED": "true",
            "KT_APPROVAL__MEDIUM": "0",
            "KT_PIPELINE__LEASE_TTL_S": "2",
            "KT_PIPELINE__VERIFY_QUIET_S": "0.5",
        }
        super().__init__(folder, {**own, **settings})
        self.twin = twin

    def rolled_back(self) -> int:
        """How often the API server saw the good image come back."""
        changes = self.twin.cluster.store.since("Deployment", 0)
        return sum(
            1
            for each in changes
            if each.before and image(each.before) == "shop:bad" and image(each.object) != "shop:bad"
        )


def image(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
