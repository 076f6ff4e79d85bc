"""Workloads whose new revision is known to have done its work until the incident began.

What alerts says when an incident began only roughly: rules wait, and so a change counts for minutes. Metrics tell it to
a sample. A rollout that had ended and after which the calls were answered as before, until something else happened, is
hardly to blame.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from diagnose.attribution import behind_services
from graph_schema.model import Burden, Subgraph

WELL = 0.05
"""Up to this share of failed calls a Service was well."""


def proven(piece: Subgraph, burdens: Iterable[Burden], onset: datetime | None) -> dict[str, datetime]:
    """What is behind a Service → until when it did its work, where calls were measured before the onset.

    `onset`: as the metrics tell it, from which the burdens are; None: nothing is known of that. Where pods of two
    revisions are there, the rollout is under way: the calls may have been answered by the old ones.
    """
    if onset is None:
        return {}
    well = {
        each.entity
        for each in burdens
        if each.symptom == "errors" and each.calls_before > 0 and (each.before or 0.0) <= WELL
    }
    made = {each.target: each.source for each in piece.relations if each.kind == "OWNS"}
    found = {}
    for service, (pods, owners) in behind_services(piece.relations).items():
        if service in well and len({made[pod] for pod in pods if pod in made}) <= 1:
            found.update(dict.fromkeys(pods | owners, onset))
    return found
