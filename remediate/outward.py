"""Asking an address outside of the cluster: only one that operators allow, and exactly the one that was looked at.

What is compared with the list is what is called: one parser for both, no redirect, no proxy of the environment. The
name is looked up once, the addresses are judged, and the connection goes to one of them, so that a name which means
something else a moment later (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from remediate.actions.base import CannotAct, Outcome

if TYPE_CHECKING:
    import httpcore
    import httpx

TIMEOUT_S = 10.0
MOST_SHOWN = 200
REDIRECTS = (301, 302, 303, 307, 308)
NEVER = ("link-local", "no host")
"""Link-local addresses are where clouds tell machines their secrets; no name leads there by right."""


def allowed(url: str, prefixes: Sequence[str]) -> bool:
    """Whether an address is under one of the prefixes: same scheme, host and port, and its path at or below theirs."""
    asked = _parsed(url)
    if asked is None:
        return False
    for prefix in prefixes:
        given = _parsed(prefix)
        if given is None or (asked.scheme, asked.host, asked.port) != (given.scheme, given.host, given.port):
            continue
        if asked.path == given.path or asked.path.startswith(given.path.rstrip("/") + "/"):
            return True
    return False


def scope_of(url: str) -> str:
    """Where a name leads now: `loopback`, `private` or `global`. Raises `CannotAct`."""
    return _looked_up(url)[0]


def post(url: str, scope: str, key: str, body: Mapping[str, Any], within_s: float = TIMEOUT_S) -> Outcome:
    """POST with `Idempotency-Key`. `scope`: where the name led when somebody agreed to it; `within_s`: for all of it,
    from the connection to the end of the answer. Raises `CannotAct`."""
    import httpcore
    import httpx  # slow to import, and few use them

    from remediate.bounded import Until

    now, addresses = _looked_up(url)
    if now != scope:
        raise CannotAct(f"{url} leads to a {now} address now ({addresses[0]}); it led to a {scope} one")
    at, content, until = httpx.URL(url), msgspec.json.encode(body), Until(within_s)
    # A certificate authority of one's own is named to httpx by SSL_CERT_FILE; nothing else of the environment counts.
    context = httpx.create_ssl_context() if at.scheme == "https" else None
    name = {"sni_hostname": at.host} if at.scheme == "https" else {}
    headers: dict[bytes | str, bytes | str] = {
        "Host": at.netloc.decode(), "Idempotency-Key": key, "Accept": "*/*", "Accept-Encoding": "identity",
        "Content-Type": "application/json", "Content-Length": str(len(content)), "User-Agent": "kt",
    }  # fmt: skip
    waits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), within_s)}
    errors = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
    with httpcore.ConnectionPool(ssl_context=context, network_backend=until) as pool:
        for last, address in enumerate(addresses, 1 - len(addresses)):
            there = str(at.copy_with(host=str(address)))
            try:
                with pool.stream(
                    "POST", there, headers=headers, content=content, extensions={**waits, **name}
                ) as answer:
                    return _outcome(url, answer)
            except httpcore.ConnectError as error:  # nothing was sent: the next address of the same name may answer
                if not last:
                    return Outcome(ok=False, later=True, detail=f"{url}: {error}")
            except errors as error:
                why = f"no answer within {within_s:g} s" if until.left(None) <= 0 else str(error)
                return Outcome(ok=False, later=True, detail=f"{url}: {why or type(error).__name__}")
    raise AssertionError("unreachable")


def _outcome(url: str, answer: httpcore.Response) -> Outcome:
    """By its status: what is said besides counts as far as it came in time."""
    import httpcore

    said_at = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
    to = said_at.get(b"location", "")[:MOST_SHOWN]
    if answer.status in REDIRECTS and to:
        return Outcome(ok=False, detail=f"{url} answered {answer.status} and sent on to {to}: that is not followed")
    text = b""
    with contextlib.suppress(httpcore.TimeoutException):
        for part in answer.iter_stream():
            text += part
            if len(text) >= MOST_SHOWN:
                break
    said = text[:MOST_SHOWN].decode(errors="replace").strip()
    detail = f"{url} answered {answer.status}: {said or 'nothing'}"
    if 200 <= answer.status < 300:
        return Outcome(ok=True, detail=detail)
    return Outcome(ok=False, later=answer.status == 429 or answer.status >= 500, detail=detail)


def _parsed(url: str) -> httpx.URL | None:
    """As it would be called; None for what is no plain address of a web server."""
    import httpx

    try:
        found = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    # What some servers take for a way up, whatever the spelling, and what some parsers take for another host.
    odd = ".." in unquote(url).split("/") or "\\" in unquote(url) or "@" in url.partition("//")[2].partition("/")[0]
    return None if odd or found.scheme not in ("http", "https") or not found.host else found


def _looked_up(url: str) -> tuple[str, list[IPv4Address | IPv6Address]]:
    import httpx

    from remediate.bounded import look_up

    at = httpx.URL(url)
    port = at.port or (443 if at.scheme == "https" else 80)
    try:
        found = look_up(at.host, port, TIMEOUT_S)
    except OSError as error:
        raise CannotAct(f"{at.host} is not known: {str(error) or 'no answer in time'}", later=True) from error
    addresses = [ip_address(each.partition("%")[0]) for each in found]
    scopes = {_scope(each) for each in addresses}
    literal = at.host in {str(each) for each in addresses}
    if len(scopes) > 1:
        raise CannotAct(f"{at.host} leads to addresses of different kinds ({', '.join(map(str, addresses))})")
    (scope,) = scopes
    if scope in NEVER and not literal:
        raise CannotAct(f"{at.host} leads to a {scope} address ({addresses[0]})")
    return scope, addresses


def _scope(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast or address.is_unspecified:
        return "no host"
    return "global" if address.is_global else "private"
