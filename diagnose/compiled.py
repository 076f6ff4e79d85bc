"""Whether the loops of a diagnosis were compiled (`diagnose/loops.pyx`) when KT was installed.

They need a C compiler then. Without one numpy does the same work, with the same answers and in several times the time.
"""

from __future__ import annotations

from importlib import import_module

try:
    import_module("diagnose.loops")
    BUILT, LACKING = True, ""
except ImportError as error:
    BUILT, LACKING = False, str(error)
