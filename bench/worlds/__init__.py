"""Made-up clusters and what goes wrong in them, from flows of requests and hand-written rules, never the catalogue.

`incident(seed)` is one incident as files would tell it, with the truth beside it.
"""

from bench.worlds.incident import Incident, Truth, incident

__all__ = ["Incident", "Truth", "incident"]
