"""All that can be done to an application, and how often it is."""

from __future__ import annotations

from bench.fleet import of_many, of_workloads
from bench.fleet.disturbance import Maker

MAKERS: tuple[tuple[Maker, int], ...] = (
    (of_workloads.revision, 9),
    (of_workloads.config, 4),
    (of_workloads.overload, 3),
    (of_workloads.service, 3),
    (of_workloads.scaled, 2),
    (of_workloads.pod, 2),
    (of_workloads.secret, 1),
    (of_workloads.policy, 1),
    (of_workloads.deleted, 1),
    (of_many.node, 4),
    (of_many.database, 4),
    (of_many.dns, 2),
    (of_many.quota, 2),
    (of_many.external, 2),
    (of_many.noisy, 1),
    (of_many.cache, 1),
    (of_many.certificate, 1),
)
