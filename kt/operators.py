"""Who may decide: operators, their roles and their tokens. A token is shown once; only its digest is kept.

A token is `kt_ID_SECRET` with 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slower hash
would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Literal, Protocol

import msgspec

Role = Literal["viewer", "operator", "approver", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "approver", "admin")
"""Each may do what those before it may: look; let go of a stop; decide on plans; manage tokens."""
PREFIX = "kt"


class NoAuthority(Exception):
    """Whoever asks may not do it; the message says what is missing."""


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    role: Role
    digest: str
    """SHA-256 of the secret, in hex."""
    created_at: datetime
    created_by: str = ""
    revoked_at: datetime | None = None


class Operators(Protocol):
    """Where operators are kept. Two stores fulfil it, held to one contract suite."""

    def add(self, operator: Operator) -> None:
        """Durable on return. Raises `NoAuthority` when the name has a token that was not revoked."""
        ...

    def find(self, id_: str) -> Operator | None: ...

    def all(self) -> list[Operator]:
        """By name, then by time; revoked ones too."""
        ...

    def revoke(self, id_: str, at: datetime) -> bool:
        """Whether there was a token of this id that had not been revoked before."""
        ...

    def close(self) -> None: ...


def issue(name: str, role: Role, *, by: str, at: datetime) -> tuple[Operator, str]:
    """A new operator and the token that proves it; the token is nowhere else."""
    id_, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    operator = Operator(id=id_, name=name, role=role, digest=_digest(secret), created_at=at, created_by=by)
    return operator, f"{PREFIX}_{id_}_{secret}"


def who_is(token: str, operators: Operators) -> Operator:
    """The operator of a token. Raises `NoAuthority`."""
    prefix, _, rest = token.strip().partition("_")
    id_, _, secret = rest.partition("_")
    found = operators.find(id_) if prefix == PREFIX and id_ and secret else None
    # Compared also when there is none, so that the time taken does not tell whether there is.
    right = hmac.compare_digest(found.digest if found else _digest(""), _digest(secret))
    if found is None or not right:
        raise NoAuthority("this token is nobody's; `kt tokens list` shows whose there are")
    if found.revoked_at is not None:
        raise NoAuthority(f"the token of {found.name} was revoked at {found.revoked_at:%Y-%m-%d %H:%M:%S} UTC")
    return found


def allowed(operator: Operator, role: Role) -> None:
    """Raises `NoAuthority` unless the operator has this role or a higher one."""
    if ROLES.index(operator.role) < ROLES.index(role):
        raise NoAuthority(f"{operator.name} is {operator.role}; this takes {role}")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
