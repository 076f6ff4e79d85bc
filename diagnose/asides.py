"""What goes on beside what was alerted: it is told, and comes after."""

from __future__ import annotations

import msgspec

from diagnose.settings import Settings
from graph_schema.model import Diagnosis

DEFAULTS = Settings()


def alerts_first(answer: Diagnosis, alerts: frozenset[str], settings: Settings = DEFAULTS) -> Diagnosis:
    """The same answer, in which causes of none of these alerts (fingerprints) stand after those of any.

    Events and conditions near an incident tell of other things as well: a pod of somebody else's that hangs on the same
    node is surely the cause of its own hanging, and no answer to what a person was called for.
    """
    causes = list(answer.selected())
    # What is named for where waiting and failing arise, without a fault of the catalogue, explains no single signal.
    asides = [each for each in causes if each.explains and alerts.isdisjoint(each.explains)]
    if not alerts or not asides or len(asides) == len(causes):
        return answer
    first = [each for each in causes if each not in asides]
    rest = [each for each in answer.hypotheses if each not in causes]
    return msgspec.structs.replace(
        answer,
        hypotheses=(*first, *asides, *rest),
        causes=tuple(range(len(causes))),
        enough=first[0].probability >= settings.enough,
    )
