"""Probes for Chaos Toolkit experiments (`"module": "verify.probes"`), with or without KT. All only read."""

from verify.probes.alerts import firing_alerts, settled_alerts, stays_quiet, workload_ready
from verify.probes.compared import as_before
from verify.probes.measures import condition, http_percentile, kt_incident, worst_value

__all__ = [
    "as_before",
    "condition",
    "firing_alerts",
    "http_percentile",
    "kt_incident",
    "settled_alerts",
    "stays_quiet",
    "workload_ready",
    "worst_value",
]
