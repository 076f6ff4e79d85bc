"""Actions for Chaos Toolkit experiments, for `chaos run` with or without KT (`"module": "verify.actions"`).

Where chaostoolkit-kubernetes has the action (end a pod, cordon, drain, run a command in a pod), use that one. These are
what it lacks, and all of them can be undone from another process, or end by themselves.
"""

from verify.actions.here import (
    expire_certificate,
    fail_dns,
    fill_volume,
    freeze_process,
    replace_file,
    restore_here,
    slow_api_server,
)
from verify.actions.load import load_service
from verify.actions.network import cut_traffic, restore_traffic, start_proxy, stop_proxy
from verify.actions.service import misroute, switch_fault, wrong_port
from verify.actions.stress import burn_cpu, fill_memory, remove_pod
from verify.actions.workload import (
    await_ready,
    change_container,
    change_field,
    hold,
    restore_object,
    scale,
    set_environment,
)

__all__ = [
    "await_ready",
    "burn_cpu",
    "change_container",
    "change_field",
    "cut_traffic",
    "expire_certificate",
    "fail_dns",
    "fill_memory",
    "fill_volume",
    "freeze_process",
    "hold",
    "load_service",
    "misroute",
    "remove_pod",
    "replace_file",
    "restore_here",
    "restore_object",
    "restore_traffic",
    "scale",
    "set_environment",
    "slow_api_server",
    "start_proxy",
    "stop_proxy",
    "switch_fault",
    "wrong_port",
]
