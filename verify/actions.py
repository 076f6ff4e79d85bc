"""Actions for Chaos Toolkit experiments that chaostoolkit-kubernetes does not have."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["load_service"]


def load_service(
    namespace: str, service: str, port: int = 80, path: str = "", per_second: float = 10.0, seconds: float = 5.0
) -> dict[str, Any]:
    """Send requests into a Service through the API server's proxy, evenly, and count the answers.

    Needs no way into the cluster but the API server. Answers of 500 and more, and none at all, count as failed.
    """
    from kubernetes import client, config  # slow to import; experiments run in a process of their own
    from kubernetes.client.exceptions import ApiException

    config.load_config()  # type: ignore[no-untyped-call]  # the client ships no types for it
    core = client.CoreV1Api()
    name = f"{service}:{port}"

    def one(at: float) -> bool:
        time.sleep(max(0.0, at - time.monotonic()))
        try:
            if path:
                core.connect_get_namespaced_service_proxy_with_path(name, namespace, path, _request_timeout=10)
            else:
                core.connect_get_namespaced_service_proxy(name, namespace, _request_timeout=10)
        except ApiException as error:
            return bool(error.status and error.status < 500)
        except OSError:
            return False
        return True

    begun = time.monotonic()
    starts = [begun + index / per_second for index in range(max(1, int(per_second * seconds)))]
    with ThreadPoolExecutor(max_workers=32) as pool:
        answers = list(pool.map(one, starts))
    return {"sent": len(answers), "failed": answers.count(False)}
