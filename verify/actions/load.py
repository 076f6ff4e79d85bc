"""Actions for Chaos Toolkit experiments that chaostoolkit-kubernetes does not have."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from verify.kubernetes import Api, Refused, path_of

__all__ = ["load_service"]


def load_service(
    namespace: str, service: str, port: int = 80, path: str = "", per_second: float = 10.0, seconds: float = 5.0
) -> dict[str, Any]:
    """Send requests into a Service through the API server's proxy, evenly, and count the answers.

    Needs no way into the cluster but the API server. Answers of 500 and more, and none at all, count as failed.
    """
    api = Api()
    where = f"{path_of('Service', namespace, service)}:{port}/proxy/{path.lstrip('/')}"

    def one(at: float) -> bool:
        time.sleep(max(0.0, at - time.monotonic()))
        try:
            api.ask("GET", where)
        except Refused as error:
            return 0 < error.status < 500
        return True

    begun = time.monotonic()
    starts = [begun + index / per_second for index in range(max(1, int(per_second * seconds)))]
    with ThreadPoolExecutor(max_workers=32) as pool:
        answers = list(pool.map(one, starts))
    return {"sent": len(answers), "failed": answers.count(False)}
