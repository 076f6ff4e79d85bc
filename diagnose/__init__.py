"""Diagnosis: from what fires and a piece of the graph to ranked causes. Pure: no clock, no I/O, no chance."""

from diagnose.engine import diagnose
from diagnose.paths import hops_around
from diagnose.settings import Settings

__all__ = ["Settings", "diagnose", "hops_around"]
