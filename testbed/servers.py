"""All servers of the testbed: ensure, restart, stop, and the variables that tell tests where they are."""

import os
import shutil
from collections.abc import Collection, Iterable
from contextlib import ExitStack

from testbed import places, processes, server
from testbed.errors import TestbedError
from testbed.kubernetes import Kubernetes
from testbed.neo4j import Neo4j
from testbed.prometheus import Alertmanager, Prometheus
from testbed.redis import Redis
from testbed.shop import Shop


def everything() -> dict[str, server.Server]:
    """Every server by name, in the order in which they start."""
    servers: tuple[server.Server, ...] = (Neo4j(), Redis(), Kubernetes(), Alertmanager(), Prometheus(), Shop())
    return {each.name: each for each in servers}


def ensure(names: Collection[str]) -> dict[str, str]:
    """Start what of `names` (and what they need) is not running; return the environment variables of `names`.

    A server for which the user gives the variables (KT_TEST_…) is theirs: nothing is started and those are returned.
    Raises Missing naming what this machine lacks, TestbedError when a server does not come up.
    """
    servers = everything()
    for name in names:
        if name not in servers:
            raise TestbedError(f"no such server: {name} (there are {', '.join(servers)})")
    variables: dict[str, str] = {}
    for name in _with_needs(names, servers):
        given = _given(servers[name])
        if given:
            variables |= given if name in names else {}
            continue
        servers[name].check()
        with places.locked(name):
            record = servers[name].start()
        variables |= record.variables if name in names else {}
    return variables


def _with_needs(names: Iterable[str], servers: dict[str, server.Server]) -> list[str]:
    wanted = set(names)
    for name in reversed(servers):
        if name in wanted:
            wanted |= set(servers[name].needs)
    return [name for name in servers if name in wanted]


def _given(one: server.Server) -> dict[str, str]:
    """The user's own variables of a server, empty when its first is not set."""
    if not os.environ.get(one.variables[0]):
        return {}
    return {variable: os.environ.get(variable, "") for variable in one.variables}


def environment() -> dict[str, str]:
    """The variables of all servers that run (or that the user has)."""
    variables: dict[str, str] = {}
    for name, one in everything().items():
        variables |= _given(one) or (server.load(name).variables if one.running() else {})
    return variables


def restart(name: str, *, kill: bool = False) -> None:
    """End a server (SIGKILL with `kill`) and start it again on the same ports; returns when it answers."""
    with places.locked(name):
        one = everything()[name]
        one.stop(kill=kill)
        one.start()


def stop(name: str, *, kill: bool = False) -> None:
    """End one server; its data and ports stay for `ensure` to start it again."""
    with places.locked(name):
        everything()[name].stop(kill=kill)


def down() -> None:
    """End everything and leave nothing behind but the cache of built things."""
    servers = everything()
    with ExitStack() as locks:
        for name in servers:
            locks.enter_context(places.locked(name))
        for one in reversed(servers.values()):
            one.stop(kill=True)  # what it would save in peace is removed below
            one.clean()
        for name in processes.known():
            processes.stop(name, kill=True)
        shutil.rmtree(places.state(), ignore_errors=True)


def status() -> dict[str, str]:
    """One word or line for each server: running, given by the user, or stopped."""
    lines: dict[str, str] = {}
    for name, one in everything().items():
        if _given(one):
            lines[name] = "given by " + one.variables[0]
        elif one.running():
            lines[name] = "running " + " ".join(server.load(name).variables.values())
        else:
            lines[name] = "stopped"
    return lines
