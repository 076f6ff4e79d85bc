"""What is behind a Service: who owns its pods and where they run, each standing for a share of them. By number."""

from __future__ import annotations

import msgspec
import numpy as np

from diagnose.arrays import NOBODY, Flags, Floats, Ints, begins, spread
from diagnose.rules import Rule


class Behind(msgspec.Struct, frozen=True):
    """Steps to Services from what their pods are made by or run on, by number: one row for each pair."""

    rule: Rule
    where_ready: Rule
    """The one for those all of whose pods are ready."""
    service: Ints
    cause: Ints
    part: Floats
    """Share of the Service's pods that the cause stands for."""
    between: Ints
    """What lies between, from the cause on; three columns, `NOBODY` where there is nothing more."""
    pods: Ints
    """How many the Service selects."""
    owns: bool
    """Whether the causes own the pods, or the pods run on them."""
    ready: Flags
    """Whether all of these pods are ready."""

    def of_several(self) -> Behind:
        """Those of Services that select several pods."""
        these = self.pods > 1
        return Behind(
            self.rule, self.where_ready, self.service[these], self.cause[these], self.part[these], self.between[these],
            self.pods[these], self.owns, self.ready[these],
        )  # fmt: skip


class Above:
    """What stands above each entity, by number, for relations that are `wanted`."""

    def __init__(self, here: Ints, above: Ints, wanted: Flags, many: int) -> None:
        here, above = here[wanted], above[wanted]
        order = np.lexsort((above, here))
        self._above = above[order]
        self._begins = np.searchsorted(here[order], np.arange(many + 1))

    def chains(self, service: Ints, pod: Ints, most: int) -> Ints:
        """(service, what is above its pod up to so many levels, what lies between down to the pod) for each way up."""
        front = np.full((len(service), 5), NOBODY)
        front[:, 0], front[:, 1] = service, pod
        found = [np.zeros((0, 5), int)]
        for _ in range(most):
            top = front[:, 1]
            which, place = spread(self._begins[top], self._begins[top + 1] - self._begins[top])
            above = self._above[place]
            fresh = (front[which, 1:] != above[:, None]).all(axis=1)
            which, above = which[fresh], above[fresh]
            front = np.column_stack((front[which, 0], above, front[which, 1:4]))
            found.append(front)
        return np.concatenate(found)


def shared(rule: Rule, where_ready: Rule, chains: Ints, size: Ints, ready: Flags, *, owns: bool) -> Behind:
    """Each service and what is above its pods once, with the share of these and the first of the ways down.

    `ready`: by the number of the entity, whether it is a pod that is ready.
    """
    chains = chains[np.lexsort(chains.T[::-1])]
    pair = chains[:, 0] * len(size) + chains[:, 1]
    first = begins(pair)
    service = chains[first, 0]
    part = np.minimum(1.0, np.diff(np.append(first, len(pair))) / size[service])
    pod = chains[np.arange(len(chains)), (chains != NOBODY).sum(axis=1) - 1]
    well = np.logical_and.reduceat(ready[pod], first) if len(first) else np.zeros(0, bool)
    return Behind(rule, where_ready, service, chains[first, 1], part, chains[first, 2:], size[service], owns, well)
