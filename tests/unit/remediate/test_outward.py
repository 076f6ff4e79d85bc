"""A person's own webhook is asked where operators allow it now, and exactly there, on a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from remediate.actions import CannotAct, Outcome
from remediate.bounded import within
from remediate.outward import allowed, post, scope_of
from tests.contract.webhooks import Hook
from tests.unit.remediate.sockets import Talk, listening

KEY = "a1"


@pytest.fixture
def hook() -> Hook:
    return Hook()


def ask(url: str, scope: str = "loopback") -> Outcome:
    return post(url, scope, KEY, {"id": KEY})


@pytest.mark.parametrize(
    "url",
    [
        "http://ops.example:8000/kt/do", "http://OPS.example:8000/kt/do?a=b", "http://ops.example:8000/kt",
        "http://ops.example:8000/kt/a/b",
    ],
)  # fmt: skip
def test_what_is_below_an_address_is_allowed(url: str) -> None:
    assert allowed(url, ["http://ops.example:8000/kt"])


@pytest.mark.parametrize(
    "url",
    [
        "https://ops.example:8000/kt/do", "http://ops.example:8001/kt/do", "http://ops.example/kt/do",
        "http://ops.example.evil.example:8000/kt/do", "http://ops.example:8000/ktx", "http://ops.example:8000/",
        "http://ops.example:8000@evil.example/kt/do", "http://me@ops.example:8000/kt/do",
        "http://evil.example\\@ops.example:8000/kt/do", "http://ops.example:8000/kt/../do",
        "http://ops.example:8000/kt/%2e%2e/do", "http://ops.example:8000/kt/%2E./do",
        "http://ops.example:8000/kt/..%5cdo", "http://ops.example:8000\\.evil.example/kt/do",
        "http:///kt/do", "//ops.example:8000/kt/do", "file:///kt/do", "http://ops.example:8000/kt/\n", "",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not(url: str) -> None:
    assert not allowed(url, ["http://ops.example:8000/kt"])


def test_a_port_that_goes_without_saying_is_the_same_address() -> None:
    assert allowed("https://ops.example:443/kt", ["https://ops.example/"])


def test_it_is_told_the_name_that_it_was_asked_by(hook: Hook) -> None:
    assert ask(f"http://localhost:{hook.port}/do").ok
    assert [(each["host"], each["path"], each["key"]) for each in hook.asked] == [
        (f"localhost:{hook.port}", "/do", KEY)
    ]


def test_a_redirect_is_told_and_not_followed(hook: Hook) -> None:
    other = Hook()
    hook.elsewhere = f"{other.url}/do"
    outcome = ask(f"{hook.url}/on")
    assert (outcome.ok, outcome.later) == (False, False)
    assert f"answered 307 and sent on to {other.url}/do: that is not followed" in outcome.detail
    assert (len(hook.asked), other.asked) == (1, [])


def test_a_proxy_of_the_environment_is_not_asked(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Hook()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("NO_PROXY", "")
    assert ask(f"{hook.url}/do").ok
    assert (len(hook.asked), proxy.asked) == (1, [])


@pytest.mark.parametrize(
    ("host", "scope"),
    [("127.0.0.1", "loopback"), ("localhost", "loopback"), ("[::1]", "loopback"), ("[::ffff:127.0.0.1]", "loopback"),
     ("10.1.2.3", "private"), ("100.64.0.1", "private"), ("[fd00::1]", "private"), ("1.1.1.1", "global"),
     ("169.254.169.254", "link-local")],
)  # fmt: skip
def test_addresses_are_told_apart_by_who_can_be_there(host: str, scope: str) -> None:
    assert scope_of(f"http://{host}:8000/do") == scope


def test_a_name_that_leads_elsewhere_than_when_it_was_agreed_to_is_not_asked(hook: Hook) -> None:
    with pytest.raises(CannotAct, match=r"leads to a loopback address now \(127\.0\.0\.1\); it led to a global one"):
        ask(f"{hook.url}/do", "global")
    assert hook.asked == []


def answers(monkeypatch: pytest.MonkeyPatch, *turns: list[str]) -> None:
    """What the resolver says of names, one turn after the other: no name server can be put in its place here."""
    real, left = socket.getaddrinfo, list(turns)

    def said(host: Any, port: Any, *more: Any, **how: Any) -> Any:
        if host != "ops.example":
            return real(host, port, *more, **how)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in (left.pop(0) if len(left) > 1 else left[0])
        ]

    monkeypatch.setattr(socket, "getaddrinfo", said)


def test_the_address_that_was_looked_at_is_the_one_that_is_called(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    assert ask(f"http://ops.example:{hook.port}/do").ok
    assert [each["host"] for each in hook.asked] == [f"ops.example:{hook.port}"]


def test_the_next_address_of_a_name_is_tried_where_nobody_listens(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert ask(f"http://ops.example:{hook.port}/do").ok
    answers(monkeypatch, ["127.0.0.2", "127.0.0.3"])
    outcome = ask(f"http://ops.example:{hook.port}/do")
    assert (outcome.ok, outcome.later, len(hook.asked)) == (False, True, 1)


@pytest.mark.parametrize(
    ("addresses", "why"),
    [(["169.254.169.254"], "link-local"), (["0.0.0.0"], "no host"), (["1.1.1.1", "127.0.0.1"], "different kinds")],
)
def test_a_name_is_never_believed_to_lead_there(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], why: str
) -> None:
    answers(monkeypatch, addresses)
    with pytest.raises(CannotAct, match=why):
        scope_of("http://ops.example/do")


def test_a_name_that_nobody_knows_may_be_known_later() -> None:
    with pytest.raises(CannotAct) as error:
        scope_of("http://kt-does-not-exist.invalid/do")
    assert error.value.later


def trickle(head: bytes, part: bytes) -> Callable[[socket.socket], None]:
    """An answer that comes byte by byte and never ends, each soon enough for a client that counts from the last one."""

    def talk(one: socket.socket) -> None:
        one.sendall(head)
        pause = threading.Event()
        while True:
            one.sendall(part)
            pause.wait(0.02)

    return talk


@pytest.mark.parametrize(
    ("talk", "ok", "said"),
    [
        pytest.param(trickle(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), False, "no answer within 0.3 s", id="headers"),
        pytest.param(trickle(b"HTTP/1.1 ", b"2"), False, "", id="a status that does not end"),
        pytest.param(
            trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;x=y\r\n.\r\n"),
            True, "answered 200: .", id="a body",
        ),
        pytest.param(None, False, "no answer within 0.3 s", id="nothing at all"),
    ],
)  # fmt: skip
def test_a_whole_call_ends_in_time_however_slowly_the_answer_comes(talk: Talk | None, ok: bool, said: str) -> None:
    with listening(talk) as server:
        done: list[Outcome] = []
        url = f"http://127.0.0.1:{server.port}/do"
        call = threading.Thread(target=lambda: done.append(post(url, "loopback", KEY, {}, within_s=0.3)), daemon=True)
        call.start()
        call.join(30)  # a call that is not bounded would never come back
        (outcome,) = done
    assert (outcome.ok, outcome.later) == (ok, not ok)
    assert said in outcome.detail


def test_a_name_whose_look_up_hangs_is_given_up() -> None:
    hangs = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: hangs.wait(30))
    hangs.set()
