"""Whether the loops of a diagnosis (`diagnose.loops`) were compiled when KT was installed.

They need a C compiler then. Without one numpy does the same work, with the same answers and in several times the time.
"""

from __future__ import annotations

from importlib import import_module

try:
    for _name in ("search", "weights"):
        import_module(f"diagnose.loops.{_name}")
    BUILT, LACKING = True, ""
except ImportError as error:
    BUILT, LACKING = False, str(error)
