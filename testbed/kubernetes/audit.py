"""What the API server saw being written: who changed what, and when. The witness of how often something was done."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from testbed.kubernetes import cluster

WRITES = ("create", "update", "patch", "delete", "deletecollection")


class Write(msgspec.Struct, frozen=True):
    """One request that changed something. `at`: when it was received."""

    at: datetime
    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int


def path() -> Path:
    """The API server's audit log."""
    return cluster.folder() / "audit.log"


def write_policy() -> Path:
    """The policy: every write of people and programs, no read."""
    rules = [
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
        {"level": "None", "users": ["system:apiserver", "system:kube-scheduler", "system:kube-controller-manager"]},
        {"level": "Metadata", "verbs": list(WRITES), "omitStages": ["RequestReceived"]},
        {"level": "None"},
    ]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
    file = cluster.folder() / "audit-policy.json"
    file.write_text(json.dumps(policy))
    return file


def writes(user: str, since: datetime) -> list[Write]:
    """What this user changed since then, in order, without what was only tried (dry runs) or refused."""
    return writes_in(path(), user, since)


def writes_in(log: Path, user: str, since: datetime) -> list[Write]:
    """The same of any audit log."""
    return [
        write
        for write, dry in _read(log)
        if write.user == user and write.at >= since and write.code < 300 and not dry and write.verb in WRITES
    ]


def _read(log: Path) -> Iterator[tuple[Write, bool]]:
    """(write, whether it was a dry run)"""
    for line in log.read_text().splitlines() if log.exists() else ():
        event = json.loads(line)
        if event.get("stage") != "ResponseComplete":
            continue
        about = event.get("objectRef", {})
        write = Write(
            at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
            user=event["user"]["username"],
            verb=event["verb"],
            resource=about.get("resource", ""),
            subresource=about.get("subresource", ""),
            namespace=about.get("namespace", ""),
            name=about.get("name", ""),
            code=event.get("responseStatus", {}).get("code", 0),
        )
        yield write, "dryRun=" in event["requestURI"]
