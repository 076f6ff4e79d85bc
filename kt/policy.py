"""The policy: what guard and approvals go by. Read anew when its file changes; one that is wrong changes nothing.

Only the sections `guard` and `approval` count here; whatever else is in the file takes effect at the next start.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import structlog

from kt.sections import Approval, Guard
from kt.settings import BadSettings, Settings, load

LOOK_EVERY_S = 1.0
_log = structlog.get_logger(__name__)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """`version`: beginning of the SHA-256 over all of it; the same everywhere for the same content."""

    guard: Guard
    approval: Approval
    version: str

    @property
    def risks(self) -> dict[str, int]:
        """Risk → how many people must agree; `tier0` → to what touches the most important."""
        approval = self.approval
        return {"low": approval.low, "medium": approval.medium, "high": approval.high, "tier0": approval.tier0}


def policy_of(settings: Settings) -> Policy:
    content = msgspec.json.encode((settings.guard, settings.approval), order="deterministic")
    version = hashlib.sha256(content).hexdigest()[:12]
    return Policy(guard=settings.guard, approval=settings.approval, version=version)


class PolicyFile:
    """The policy of a settings file, as it is now. Safe among threads.

    `told` is called with the policy in force and with why the file is refused (empty: it is not), whenever one of the
    two changes."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        settings: Settings,
        *,
        told: Callable[[Policy, str], None] = lambda policy, problem: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._environ, self._told, self._monotonic = path, environ, told, monotonic
        self._policy, self.problem = policy_of(settings), ""
        self._guard = threading.Lock()
        # Not what is there now: what the settings were made of may have been changed in between.
        self._seen: bytes | None = None
        self._looked_at = -LOOK_EVERY_S

    def __call__(self) -> Policy:
        with self._guard:
            if self._monotonic() - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = self._monotonic()
                self._look()
            return self._policy

    def _look(self) -> None:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            self._refuse(f"{self._path} cannot be read: {error.strerror or error}")
            return
        if content == self._seen:
            return
        self._seen = content
        try:
            found = policy_of(load(self._path, self._environ))
        except BadSettings as error:
            self._refuse(str(error))
            return
        before, self._policy = self._policy, found
        if found.version != before.version:
            _log.warning(
                "another policy holds from now on", version=found.version, changed=list(changes(before, found))
            )
        if found.version != before.version or self.problem:
            self.problem = ""
            self._told(found, "")

    def _refuse(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            _log.error("policy refused, the one before goes on to hold", version=self._policy.version, problem=problem)
            self._told(self._policy, problem)


def changes(before: Policy, after: Policy) -> Iterator[str]:
    """Each setting that differs: `guard.cooldown_s: 300.0 → 60.0`."""
    for section in ("guard", "approval"):
        old, new = getattr(before, section), getattr(after, section)
        for field in old.__struct_fields__:
            was, now = getattr(old, field), getattr(new, field)
            if was != now:
                yield f"{section}.{field}: {msgspec.json.encode(was).decode()} → {msgspec.json.encode(now).decode()}"
