"""What experiments must be allowed in the namespaces where they run, in the words of Kubernetes."""

from __future__ import annotations

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
