"""What can be broken in the shop, for real. `testbed.shop.reset` takes all of it back."""

import signal
from collections.abc import Callable

from testbed import processes, shop
from testbed.kubernetes import cluster
from testbed.kubernetes.images import SHOP


def bad_rollout() -> str:
    """A new image of cart whose every second answer is an error."""
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        container = {"name": "cart", "image": f"{SHOP}:bad"}
        api.patch(f"{shop.DEPLOYMENTS}/cart", {"spec": {"template": {"spec": {"containers": [container]}}}})
    return "cart gets an image whose answers fail"


def overload() -> str:
    """More customers than the catalogue's three pods can serve."""
    shop.load(shop.OVERLOAD)
    return f"{shop.OVERLOAD:.0f} customers a second instead of {shop.RATE:.0f}"


def node_down() -> str:
    """The kubelet of the second node is stopped in its tracks (SIGSTOP)."""
    name = cluster.NODES[1].name
    processes.send("kubelet-2", signal.SIGSTOP)
    return f"the kubelet of {name} stands still"


FAULTS: dict[str, Callable[[], str]] = {"bad-rollout": bad_rollout, "overload": overload, "node-down": node_down}
