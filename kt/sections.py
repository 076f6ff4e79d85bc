"""The sections of the settings, each key with its default and its meaning; out of this docs/settings.md is made."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remediate.limits import Limits, Window, check_zone
from verify.stop_when import StopWhen

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Common to all sections: a key nobody knows is an error."""


class Store(Section, frozen=True):
    """Where graph and incidents are kept."""

    kind: Literal["sqlite", "neo4j"] = "sqlite"
    """sqlite: files in `data_dir`, for one machine. neo4j: a server, for as many processes and machines as you like."""
    uri: str = "bolt://localhost:7687"
    """Where Neo4j answers; `neo4j+s://` or `bolt+s://` for TLS. This and the keys below are for kind = "neo4j" only."""
    user: str = ""
    """Empty: Neo4j asks for no login."""
    password: str = ""
    """A secret: give it as KT_STORE__PASSWORD or, better, as a file named by KT_STORE__PASSWORD_FILE."""
    database: str = "neo4j"
    """The database in Neo4j; KT needs the right to make constraints and indexes in it."""


class Web(Section, frozen=True):
    """Where `kt serve` takes alerts in and answers people."""

    host: str = "127.0.0.1"
    """The address it listens at; 0.0.0.0: every one of this machine."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8650
    """0: any free one."""
    token: str = ""
    """Bearer token that webhooks must carry; empty: none is asked for."""
    max_body_bytes: Annotated[int, msgspec.Meta(gt=0)] = 4 * 1024 * 1024
    """A larger webhook is refused with 413."""


class Metrics(Section, frozen=True):
    """Where workers and beats answer /metrics and /healthz; the web process does so at its own address."""

    host: str = "127.0.0.1"
    """The address they listen at."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """0: nowhere. Processes on one host need different ports."""


class Kubernetes(Section, frozen=True):
    """The cluster that KT watches and repairs."""

    kubeconfig: str = ""
    """Empty: the service account of the pod, else the default kubeconfig."""
    context: str = ""
    """The context of the kubeconfig; empty: its current one."""
    cluster: str = "cluster"
    """The name of the cluster in the graph."""
    timeout_s: Positive = 10.0
    """How long one request to the API server may take in all. Writes are not repeated by themselves: after one that was
    not answered KT looks whether it was done."""
    secrets: bool = False
    """Also follow Secrets: that they are there and when they were written, never what they hold. It takes the rights of
    `kt rbac --secrets`; Kubernetes has none that shows metadata without contents."""


class Prometheus(Section, frozen=True):
    """Where steady states are looked up, and what else metrics tell."""

    url: str = "http://localhost:9090"
    """Its address."""
    calls_every_s: Seconds = 30.0
    """How often Prometheus is asked who calls whom (the series `kt:calls`); 0: never."""


class Alertmanager(Section, frozen=True):
    """Where people silence alerts."""

    url: str = ""
    """Its address. Right before acting KT asks there whether what fired is silenced or inhibited by now, and then does
    nothing; nor does it when no answer comes. Empty: it is not asked."""


class Sense(Section, frozen=True):
    """How alerts are understood."""

    label_mapping: str = ""
    """A file that replaces the built-in mapping of alert labels to entities."""


class Diagnose(Section, frozen=True):
    """How causes are looked for."""

    hops: Annotated[int, msgspec.Meta(ge=1, le=12)] = 6
    """How many relations away from what alerts a cause may be."""
    min_probability: Share = 0.5
    """Below this no remedy is proposed; the incident waits for evidence, then for a person."""
    metrics: bool = True
    """Also ask Prometheus for the minutes around the onset and count what changed as evidence."""
    look_back_s: Positive = 1800.0
    """How far before the first alert metrics are read, in 360 steps. With short scrape intervals and alert rules, make
    it shorter: else there are but a step or two between the onset and the alert."""
    events: bool = True
    """Also read Warning events and conditions around the onset from Kubernetes."""
    logs: Literal["off", "kubernetes"] = "off"
    """Also read what the containers of the pods nearest to the alerts wrote around the onset. It takes the rights of
    `kt rbac --logs`, in each namespace in which it is wanted; what programs write may be confidential, so of troubles
    alone a line each is kept, without what looks like a password, token or key."""
    rules: bool = True
    """Also ask Prometheus which alert rules there are: what they watch and do not complain of counts as sound."""
    budget_s: Positive = 4.0
    """How long all of that may take; what does not answer in time is left out, and the diagnosis says so."""
    learning: Literal["off", "accepted", "all"] = "accepted"
    """What confirmed causes may change of the catalogue's numbers: nothing, what a person accepted
    (`kt knowledge diff|accept`), or everything; and nothing while fewer than 10 were confirmed."""
    probes: Annotated[int, msgspec.Meta(ge=0)] = 3
    """How many read-only questions of the catalogue are asked when the evidence is not enough; 0: none."""
    probe_timeout_s: Positive = 2.0
    """How long one of them may take."""


class Guard(Section, frozen=True):
    """What KT may do. Every action passes here; `kt guard explain` shows how one is judged."""

    enabled: bool = False
    """KT acts only when this is on, and only in namespaces labelled `kt.io/remediate: enabled`."""
    cooldown_s: Seconds = 300.0
    """How long a target is left alone after KT acted on it."""
    max_share_of_nodes: Share = 0.34
    """Nodes that may be cordoned or not ready at once, the target of the action among them."""
    node_groups: tuple[str, ...] = ("topology.kubernetes.io/zone",)
    """Labels of nodes by which they belong together: the zone, and whatever tells your node pools apart."""
    max_share_of_node_group: Share = 0.5
    """Nodes of one zone or pool that may be out at once; one may be, but of several never the last."""
    storm_nodes: Annotated[int, msgspec.Meta(ge=1)] = 3
    """So many nodes not ready at once are no node fault: no node remedies then."""
    max_replicas: Annotated[int, msgspec.Meta(ge=1)] = 20
    """No scale-out beyond this, and no higher maximum of an autoscaler."""
    max_share_of_workload: Share = 0.34
    """Pods of a workload that may be missing at once because of KT; one may always be."""
    sibling_delay_s: Seconds = 60.0
    """How old the youngest serving sibling of a pod must be before the pod is ended."""
    max_actions_per_hour: Annotated[int, msgspec.Meta(ge=0)] = 30
    """Of the whole installation; beyond it a person is asked."""
    max_actions_per_hour_per_namespace: Annotated[int, msgspec.Meta(ge=0)] = 15
    """The same for each namespace."""
    max_actions_per_hour_per_target: Annotated[int, msgspec.Meta(ge=0)] = 3
    """Beyond these a person is asked. Pods count for their workload."""
    max_actions_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 6
    """Of all workers together; what is more waits."""
    max_ineffective: Annotated[int, msgspec.Meta(ge=1)] = 2
    """After so many times in a day that a playbook did not help a target, a person is asked instead."""
    breaker_failures: Annotated[int, msgspec.Meta(ge=1)] = 3
    """After so many actions in a row that failed or did not help, the circuit breaker opens: KT only proposes."""
    breaker_share: Share = 0.5
    """It also opens when a smaller share of the last actions helped, once there are `breaker_sample` of them."""
    breaker_sample: Annotated[int, msgspec.Meta(ge=2)] = 6
    """So many outcomes a share is told of at least."""
    breaker_window_s: Positive = 3600.0
    """How far back outcomes count."""
    breaker_open_s: Positive = 1800.0
    """How long it stays open; then the first bad outcome opens it again. `kt resume --breaker` closes it."""
    max_api_latency_s: Positive = 3.0
    """An API server whose answers take longer (90th percentile of the last minute) opens it too."""
    tier_label: str = "kt.io/tier"
    """Label of a workload or its namespace: what is of tier 0 is never touched without approval."""
    drain_deadline_s: Positive = 600.0
    """How long disruption budgets may hold an eviction back before it is given up and a person is asked."""
    freezes: tuple[Window, ...] = ()
    """`[[guard.freezes]]` with start and end, or cron, duration_s and zone; namespaces, why: nothing is done then, only
    proposed, and no chaos runs."""
    maintenance: tuple[Window, ...] = ()
    """`[[guard.maintenance]]`, said in the same way: KT waits until it is over."""
    webhooks: tuple[str, ...] = ()
    """Addresses under which the action `call-webhook` may ask, such as `https://ops.example.com/kt/`."""
    playbooks: str = ""
    """A folder with playbooks of your own, added to the built-in ones."""

    @property
    def limits(self) -> Limits:
        """What of it the guard's rules read."""
        return Limits(**{field: getattr(self, field) for field in Limits.__struct_fields__})


class Approval(Section, frozen=True):
    """How many different people have to approve a plan, by the risk that its playbook states."""

    low: Literal[0, 1, 2] = 0
    """0: KT acts on its own."""
    medium: Literal[0, 1, 2] = 1
    """As `low`."""
    high: Literal[0, 1, 2] = 2
    """As `low`."""
    tier0: Literal[1, 2] = 1
    """How many must agree at least to what touches a workload of tier 0 (guard.tier_label)."""
    undo: Literal[0, 1, 2] = 0
    """How many people must agree before `kt undo` takes something back."""
    own_requests: bool = False
    """Whether whoever asked for something (`kt undo`) counts among those who agree to it."""
    expires_s: Positive = 3600.0
    """A plan that nobody decided on for so long is given up, and a person is asked to look."""
    require_tokens: bool = False
    """Whether whoever decides has to show an operator's token (`kt tokens create`). Otherwise names are taken on trust,
    which is right only where everybody who can run `kt` may decide."""


Kind = Literal["proposed", "expired", "outcome", "escalated"]


class Notify(Section, frozen=True):
    """Messages to people through Apprise: Slack, Teams, mail, any webhook."""

    urls: str = ""
    """Addresses as Apprise writes them, separated by spaces or lines; secrets, so better in a file
    (KT_NOTIFY__URLS_FILE)."""
    kinds: tuple[Kind, ...] = ("proposed", "expired", "outcome", "escalated")
    """Of what: a plan that waits for consent, one that nobody decided on, what became of one, what needs a person."""


class Chaos(Section, frozen=True):
    """Scheduled chaos. What a guard refuses is in the history with its reason."""

    enabled: bool = False
    """Nothing is disturbed unless this is on, and only in namespaces labelled `kt.io/chaos: enabled`."""
    max_concurrent: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Runs at one time."""
    with_open_incidents: bool = False
    """Whether runs may begin while an incident is open."""
    cluster_wide: bool = False
    """Whether actions on nodes, which belong to no namespace, may run."""
    freeze: tuple[Window, ...] = ()
    """Times without chaos beside guard.freezes, such as
    `{cron = "0 16 * * FRI", duration_s = 230400, zone = "Europe/Berlin", why = "weekend"}`."""
    calendars: tuple[str, ...] = ()
    """Files in the iCalendar format (.ics), such as of holidays or sales: no run begins while one of their events is
    on, nor while one of the files cannot be read."""
    calendar_zone: str = "UTC"
    """The time zone of their days, and of their times that name none."""
    windows: tuple[Window, ...] = ()
    """Times in which runs may begin, such as `{cron = "0 9 * * MON-THU", duration_s = 25200, zone = "Europe/Berlin"}`;
    none: at all times."""
    max_workloads: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Deployments, StatefulSets and DaemonSets that one run may act on; an action that names none in its namespace acts
    on all of them there."""
    min_ready: Annotated[int, msgspec.Meta(ge=0)] = 1
    """Pods that each of them must have ready before it is disturbed."""
    min_ready_share: Share = 1.0
    """The share of its wanted pods that each of them must have ready before."""
    approvals: Literal[0, 1, 2] = 0
    """How many people have to agree to a run that fell due (`kt chaos approve`) before it begins."""
    approvals_risky: Literal[0, 1, 2] = 0
    """The same for a game day, and for a run that acts on nodes, where this is more."""
    approval_expires_s: Positive = 3600.0
    """How long after its time a run waits for them."""
    stop_when: tuple[StopWhen, ...] = ()
    """Limits on every run, such as `{query = "kt:error_ratio", above = 0.2, for_s = 3}`: beyond one it ends, with its
    rollbacks. Looked at each second; an experiment may bring more of its own."""
    timeout_s: Positive = 900.0
    """A run that takes longer is stopped and rolled back."""
    late_s: Seconds = 120.0
    """A run that is later than this counts as missed."""
    aftermath_s: Seconds = 120.0
    """How long after a run alerts may still come from it."""
    folder: str = ""
    """Where relative paths and modules of experiments are looked up; empty: in a folder of the run."""

    def __post_init__(self) -> None:
        check_zone(self.calendar_zone)


class Pipeline(Section, frozen=True):
    """Times of the loop, in seconds of KT's clock."""

    settle_s: Seconds = 0.3
    """After the first alert, how long to wait for the rest of the burst."""
    group_window_s: Seconds = 120.0
    """How far apart in time alerts may be that join one incident by being near in the graph."""
    verify_quiet_s: Seconds = 3.0
    """How long the symptoms must be gone before the fix is attacked (wall clock)."""
    compare: bool = False
    """Also compare the failures of the healed service, after the attack, with those before the fault and with services
    that it does not touch (a sequential test). Needs five minutes of `kt:error_ratio` before the fault, or it is
    inconclusive."""
    watch_longest_s: Seconds = 900.0
    """The fix of a fault that must not be repeated is watched for three times its onset, but no longer than this."""
    recovery_s: Positive = 180.0
    """How long symptoms may go on after an action before it counts as one that did not help."""
    doubt_s: Positive = 30.0
    """How often the cause is thought over while an action does not help and more has come in: when that speaks clearly
    for another cause, the rest of `recovery_s` is not waited for."""
    most_crashes: Annotated[int, msgspec.Meta(ge=0)] = 3
    """So often one container that is down now may have ended under a fix; then the rest of `recovery_s` is not waited
    for. 0: it always is."""
    max_attempts: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Experiments per fix before a person is asked."""
    aftermath_s: Seconds = 60.0
    """How long after KT attacked a fix alerts near it may be the doing of that attack (windows of rates, `for`): they
    open an incident that is diagnosed after that, and ends without anything done where they end by themselves."""
    evidence_s: Seconds = 60.0
    """How long an incident whose cause is not certain enough waits for more evidence before a person is asked."""
    guard_patience_s: Seconds = 600.0
    """How long a plan waits for what passes (a cooldown, a budget, a maintenance window) before a person is asked."""
    reopen_s: Seconds = 1800.0
    """How long after an incident was given to a person the same alerts reopen it instead of opening another one: it is
    looked at anew, what was tried is not tried again, and a person is told again only if the cause is another one."""
    retry_s: Positive = 5.0
    """How long to wait before what was postponed, or failed for want of a server, is tried again."""
    lease_ttl_s: Positive = 10.0
    """How long an incident or a target stays with a worker that died."""
    experiment_timeout_s: Positive = 120.0
    """An experiment that takes longer is stopped, rolled back and counts as inconclusive."""
    sweep_interval_s: Positive = 1.0
    """How often the beat asks for the steps that are due."""
