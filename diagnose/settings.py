"""The numbers that scoring rests on. Chosen on the tuning seeds of bench/offline.py, reported on others."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    hops: int = 7
    leak: float = 0.02
    """Probability that a symptom is seen without any cause considered (noisy-OR with leak: Pearl 1988, 4.3.2)."""
    sure: float = 0.97
    """How surely an own symptom of `FaultMode.sure` comes from the fault."""
    same_entity: float = 0.5
    """Each further symptom on one entity counts this much of the one before: they are not independent."""
    storm: float = 80.0
    """What symptoms add to the log-odds grows with their number up to this, and with its logarithm above."""
    first: float = 0.5
    """Log-odds for showing an own symptom at the very beginning of the incident."""
    first_within_s: float = 120.0
    watched: float = 0.35
    """Probability that an expected symptom would have raised an alert: silence weighs only as much as this."""
    watched_self: float = 0.5
    """The same for a cause's own face and workload."""
    watched_node: float = 0.8
    """The same for nodes, for which rules come with every collection."""
    watched_workload: float = 0.65
    """The same for what Kubernetes says of workloads: rules for it come with the usual collections, too."""
    watched_by_rule: float = 0.85
    """The same where the rules are known and one of them watches for the symptom; without one, silence says nothing."""
    watched_state: float = 0.9
    """The same where the state in the graph says that a thing is well: it may be some seconds old."""
    sibling: float = 0.5
    """Probability that a sick sibling of a pod that complains would have complained, too."""
    sibling_next: float = 0.75
    nobody_known: float = 0.05
    """Factor on the odds of a deleted thing of which nobody is known to have used it."""
    silent_next: float = 0.88
    """Each further silent thing counts this much of the one before."""
    faint: float = 0.08
    """What is to be expected less surely than that is in nobody's count of what a fault leaves in peace."""
    narrow: float = 10.0
    """So many things may be silent that should not be, before a fault explains less of what is seen."""
    blind: float = 0.3
    """What silence counts while the monitoring itself is sick."""
    seen_blind: float = 0.8
    """What other signals count while the monitoring itself is sick."""
    half_life_s: float = 300.0
    """After this long the quick part of what a change raises the odds by is half as much."""
    slow_half_life_s: float = 5400.0
    """The same for the slow part: some changes do harm only hours later."""
    slow_part: float = 0.05
    new_pods_s: float = 20.0
    """So long after a rollout the old pods may still have done the work: new ones are fetched, started and found."""
    proven_half_life_s: float = 20.0
    """Where metrics tell that the new pods did their work, the quick part halves once more in each such time."""
    remembered_s: float = 21600.0
    """Changes older than this before the onset bring nothing about."""
    skew_s: float = 45.0
    """A change this long after the onset may still be its cause: alerts and changes are stamped by different clocks."""
    within_hold: float = 0.7
    """Factor on what a change counts that came after the onset but before the alert had waited out its `for`."""
    change_missed: float = 0.1
    """Share of changes that are not recorded where changes are recorded at all."""
    changes_unrecorded: float = 0.4
    """The same when no change of anything is known: perhaps nobody records them."""
    fitting: float = 3.0
    """Factor on what a change counts whose detail fits the fault; its inverse when the detail does not."""
    other_change: float = 0.6
    """Exponent on the largest factor for a change of a kind that nobody knows."""
    state_factor: float = 8.0
    proof_factor: float = 60.0
    """Factor on the odds when the entity's own state matches (or, inverted, contradicts) the fault."""
    late_state: float = -0.7
    """Log-odds for a state that is not as the fault has it and comes late (`FaultMode.late`): half of its cases."""
    explained: float = 0.12
    """A hypothesis explains a signal from this strength on."""
    news: float = 0.7
    """A further cause must make at least one signal likelier by this much (in log-probability)."""
    next_cause: float = 0.6
    """What is left unexplained makes a further cause when its best hypothesis is at least this probable."""
    enough: float = 0.4
    """Below this probability of the best hypothesis the answer is: not enough evidence."""
    most_causes: int = 5
    most_hypotheses: int = 20
    most_told: int = 100
    """For so many of the signals that a hypothesis explains, the first ones, way and weight are told."""
    looked_at_closely: int = 24
    """For how many of the best entities the missing symptoms are counted."""
    for_each_signal: int = 3
    """And for how many of the best that explain each signal: a second fault's are not among the best of the first."""
    faults_within: float = 5.0
    """Faults of an entity are looked at closely when their log-odds are within this of its likeliest one."""
    expected: float = 0.3
    """A symptom is expected where at least this much of the fault arrives."""
    expected_by_rule: float = 0.15
    """The same where the rules are known: silence is sure then, and many things of which each is not do add up."""
    calibration: tuple[tuple[float, float], ...] = (
        (0.0, 0.0),
        (0.2, 0.4),
        (0.345, 0.575),
        (0.46, 0.74),
        (0.65, 0.825),
        (0.83, 0.92),
        (0.93, 0.965),
        (1.0, 0.99),
    )
    """From the score's probability to how often it was right on the tuning seeds of bench/offline.py: a rising line."""
    usual_witnesses: float = 4.5
    """For so many symptoms the line holds as it is."""
    dependent: float = 0.5
    """The odds that are told fall with this power of the number of symptoms: each further one depends on the rest."""
    most_dependent: float = 7.5
    """More than usual by a larger factor than this counts no further."""
