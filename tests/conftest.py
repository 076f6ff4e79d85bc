"""Fixtures of the real servers, and what KT_TESTBED means.

- `auto` (the default): a test that asks for a real server runs where the server can be had and is otherwise skipped
  with a reason that names what is missing;
- `require`: what would be skipped fails;
- `off`: tests of real servers are left out.

A test says which servers it needs by the fixtures it asks for, or by `@pytest.mark.real("neo4j", "redis")`.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import hypothesis
import neo4j
import pytest
import structlog

import testbed.servers
from testbed import places

FIXTURES = {
    "neo4j_uri": "neo4j",
    "redis_url": "redis",
    "prometheus_url": "prometheus",
    "alertmanager_url": "alertmanager",
    "kubeconfig": "kubernetes",
    "shop_url": "shop",
}
E2E = Path(__file__).parent / "e2e"
MODES = ("auto", "require", "off")
# There is one of each, whatever the number of workers (pytest-xdist); of the stores each worker has its own.
STORY = pytest.StashKey[Callable[[], str]]()
"""What a failing test has to tell of what went on."""
SHOP = {"prometheus", "alertmanager", "shop"}
SHARED = SHOP | {"kubernetes"}
# Each module has one of its own and starts it itself.
OWN = {"control plane"}
BESIDE = "beside the shop"
STORES = {"neo4j": "KT_TEST_NEO4J_URI", "redis": "KT_TEST_REDIS_URL"}


def _mode() -> str:
    mode = os.environ.get("KT_TESTBED", "auto")
    if mode not in MODES:
        raise pytest.UsageError(f"KT_TESTBED={mode}: must be one of {', '.join(MODES)}")
    return mode


def pytest_configure() -> None:
    _mode()
    # How long an example takes says nothing on a machine that others use, too.
    # In CI the examples are the same each time: a new counterexample is found by who works on it, not by who lands.
    hypothesis.settings.register_profile("kt", deadline=None, derandomize=bool(os.environ.get("CI")))
    hypothesis.settings.load_profile("kt")
    # structlog draws exceptions with all their locals unless told otherwise: seconds for each where a catalogue is one.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With KT_TESTBED=off the tests of real servers are left out; those of shared ones never run side by side.

    But for tests that keep to namespaces of their own: those run one after the other, beside those of the shop."""
    given = {name for name, variable in STORES.items() if os.environ.get(variable)}
    for item in items:
        servers = _servers(item)
        if servers & (SHOP | given) or (servers & SHARED and item.get_closest_marker("whole_cluster")):
            item.add_marker(pytest.mark.xdist_group("shop"))
        elif servers & SHARED:
            item.add_marker(pytest.mark.xdist_group(BESIDE))
        # Whole systems on a machine that is busy with other tests: what fails again and again is broken.
        if item.path.is_relative_to(E2E) or _servers(item) & SHARED:
            # Of the cluster once more: what a test before it did to the shop is still a suspect for minutes.
            item.add_marker(pytest.mark.flaky(reruns=3 if _servers(item) & SHARED else 2))
    if _mode() != "off":
        return
    left_out = [item for item in items if _servers(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """A pytest-xdist that does not find its groups would have two workers break one cluster for each other."""
    together = [item for item in session.items if item.get_closest_marker("xdist_group")]
    if session.config.getoption("loadgroup", False) and not all("@" in item.nodeid for item in together):
        raise pytest.UsageError("pytest-xdist does not group tests with this version of pytest")


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """One process at a time between the groups of a run, and whoever waits is next."""
    with (folder / "next").open("w") as following, (folder / "turn").open("w") as mine:
        fcntl.flock(following, fcntl.LOCK_EX)
        fcntl.flock(mine, fcntl.LOCK_EX)
        fcntl.flock(following, fcntl.LOCK_UN)
        yield


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests beside the shop's pause while one of those needs the cluster for itself."""
    groups = [mark.args[0] for mark in request.node.iter_markers("xdist_group")]
    real = _servers(request.node) & SHARED
    if BESIDE in groups or (real and request.node.get_closest_marker("alone_in_cluster")):
        with turn(tmp_path_factory.getbasetemp().parent):
            yield
    else:
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails tells what happened, where a fixture has set that down (`STORY`)."""
    report = yield
    tell = item.stash.get(STORY, None)
    if report.when == "call" and report.outcome != "passed" and tell is not None:
        report.sections.append(("what happened", tell()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were run once more: what passes then is not yet steady."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"rerun: {report.nodeid}", sep="-")
        crash = getattr(report.longrepr, "reprcrash", None)
        terminalreporter.line(crash.message if crash else str(report.longrepr)[-2000:])
        for name, text in report.sections:
            if name == "what happened":
                terminalreporter.line(text)


def _servers(item: pytest.Item) -> set[str]:
    marked = {str(name) for mark in item.iter_markers("real") for name in mark.args}
    return marked | {FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES}


def missing(why: str) -> NoReturn:
    """This machine lacks what the test needs: it is skipped with that reason, and fails with `require`."""
    if _mode() == "require":
        pytest.fail(f"KT_TESTBED=require: {why}", pytrace=False)
    pytest.skip(why)


Servers = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def servers() -> Servers:
    """`servers("neo4j", "redis")` starts them and gives their variables, or skips (fails with `require`)."""

    def ensure(*names: str) -> dict[str, str]:
        if _mode() == "off":
            pytest.skip("KT_TESTBED=off leaves out the tests of real servers")
        try:
            return testbed.servers.ensure(names)
        except testbed.Missing as error:
            missing(str(error))

    return ensure


Program = Callable[[str], str]


@pytest.fixture(scope="session")
def program() -> Program:
    """`program("promtool")` gives the path of a program, or skips (fails with `require`)."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found and _mode() != "off":
            return found
        why = f"{name} is not installed (as root: python -m testbed install)"
        missing("KT_TESTBED=off leaves out what other programs say" if found else why)

    return find


@pytest.fixture(autouse=True)
def _real(request: pytest.FixtureRequest) -> None:
    """What `@pytest.mark.real(...)` names is up before the test."""
    marks = list(request.node.iter_markers("real"))
    names = sorted({str(name) for mark in marks for name in mark.args} - OWN)
    if names:
        request.getfixturevalue("servers")(*names)


@pytest.fixture(scope="session")
def neo4j_uri(servers: Servers) -> str:
    """The Bolt URI of a real Neo4j (user and password in KT_TEST_NEO4J_USER and _PASSWORD; none here)."""
    return servers("neo4j")["KT_TEST_NEO4J_URI"]


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    """The URL of a real Redis."""
    return servers("redis")["KT_TEST_REDIS_URL"]


@pytest.fixture(scope="session")
def prometheus_url(servers: Servers) -> str:
    """The URL of a real Prometheus that scrapes the shop, the kubelets and the state of the cluster."""
    return servers("prometheus")["KT_TEST_PROMETHEUS_URL"]


@pytest.fixture(scope="session")
def alertmanager_url(servers: Servers) -> str:
    """The URL of a real Alertmanager that Prometheus alerts to."""
    return servers("alertmanager")["KT_TEST_ALERTMANAGER_URL"]


@pytest.fixture(scope="session")
def kubeconfig(servers: Servers) -> str:
    """The kubeconfig file of a real two-node cluster."""
    return servers("kubernetes")["KT_TEST_KUBECONFIG"]


@pytest.fixture(scope="session")
def shop_url(servers: Servers) -> str:
    """Where the customers of the real shop are told how many to be; `testbed.shop` breaks and mends the shop."""
    return servers("shop")["KT_TEST_SHOP_LOAD_URL"]


@pytest.fixture
def own_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes of disturbances here (`verify.actions.noted`) of the test's own; processes that it starts find the same."""
    (tmp_path / "notes").mkdir()
    # Where the testbed is does not change by it.
    monkeypatch.setenv("KT_TESTBED_STATE", str(places.state()))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "notes"))
    monkeypatch.setattr("tempfile.tempdir", None)


class Place(NamedTuple):
    uri: str
    auth: tuple[str, str] | None


def emptied(uri: str) -> Place:
    """That Neo4j with nothing of KT in it but its schema."""
    user, password = os.environ.get("KT_TEST_NEO4J_USER", ""), os.environ.get("KT_TEST_NEO4J_PASSWORD", "")
    place = Place(uri, (user, password) if user else None)
    with neo4j.GraphDatabase.driver(place.uri, auth=place.auth) as driver:
        driver.execute_query("MATCH (n) WHERE any(label IN labels(n) WHERE label STARTS WITH 'Kt') DETACH DELETE n")
    return place


@pytest.fixture
def empty_neo4j(neo4j_uri: str) -> Place:
    """A real Neo4j, emptied for this test."""
    return emptied(neo4j_uri)


def in_neo4j(place: Place) -> dict[str, str]:
    """The settings that keep KT's graph and incidents there."""
    user, password = place.auth or ("", "")
    stored = {"KT_STORE__KIND": "neo4j", "KT_STORE__URI": place.uri}
    return stored | {"KT_STORE__USER": user, "KT_STORE__PASSWORD": password}
