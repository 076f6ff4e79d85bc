"""What experiments must be allowed in the namespaces where they run, in the words of Kubernetes."""

from __future__ import annotations

from verify.kubernetes import PLACES

OF_THE_CLUSTER = ("Node", "Namespace")
RIGHTS = (
    # `chaosk8s.pod.actions.terminate_pods` looks the pods up and deletes some.
    ("", "pods", "list delete"),
    # `verify.actions.load_service` sends its requests through the API server.
    ("", "services/proxy", "get"),
    # `verify.probes.workload_ready`.
    ("apps", "deployments", "get"),
    ("apps", "statefulsets", "get"),
)
"""(API group, resource, verbs separated by spaces)."""


CHAOS = (
    # What `verify.actions.change_field` and its kin change and restore, and `condition` reads; nodes are not among it.
    *(("" if "/apis/" not in path else path.split("/")[2], path.rsplit("/", 1)[1], "get patch")
      for kind, path in PLACES.items() if kind not in OF_THE_CLUSTER),
    # `cut_traffic`, `burn_cpu`, `fill_memory` create; `restore_traffic`, `remove_pod` take away.
    ("networking.k8s.io", "networkpolicies", "create delete"),
    ("", "pods", "create delete"),
    # `load_service`, and `switch_fault`, which looks the pods up.
    ("", "services/proxy", "get"),
    ("", "pods", "list"),
    ("", "pods/proxy", "create get"),
)  # fmt: skip
"""What the attacks of templates need, in the namespaces that take part in chaos."""
