"""`kt rbac`: the rights that KT needs in a cluster, as manifests for `kubectl apply -f -`. Asks no cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from kt import rbac as manifests

HEADING = "# Made by `{command}` out of what the code declares; change it there.\n"


@click.command()
@click.option("--act", "part", flag_value="act", help="What the actions of playbooks need.")
@click.option("--verify", "part", flag_value="verify", help="What experiments need.")
@click.option("--chaos", "part", flag_value="chaos", help="What scheduled attacks need; with --namespace its bindings.")
@click.option("--secrets", "part", flag_value="secrets", help="What `kubernetes.secrets` needs.")
@click.option("--logs", "part", flag_value="logs", help="What `diagnose.logs` needs; with --namespace its binding.")
@click.option("--namespace", metavar="NAME", help="The bindings that let KT act and verify in this namespace.")
@click.pass_obj
def rbac(config: Path | None, part: str | None, namespace: str | None) -> None:
    """Print the rights that KT needs to watch a cluster, to act (--act), to verify (--verify), for more.

    To act means the playbooks that come with KT and those of guard.playbooks, and nothing that none of them does.
    """
    bound = {"chaos": ("kt-chaos", "kt-verify"), "logs": ("kt-read-logs",)}
    if part and part not in bound and namespace:
        raise click.UsageError("--namespace prints bindings, without --act and --verify")
    if namespace and part:
        command = f"kt rbac --{part} --namespace {namespace}"
        made = manifests.granted(namespace, bound[part])
    elif namespace:
        command, made = f"kt rbac --namespace {namespace}", manifests.granted(namespace)
    else:
        parts: dict[str | None, Callable[[], list[dict[str, Any]]]] = {
            None: manifests.watching, "act": lambda: manifests.acting(_actions(config)), "verify": manifests.verifying,
            "secrets": manifests.watching_secrets, "chaos": manifests.attacking, "logs": manifests.reading_logs,
        }  # fmt: skip
        command, made = f"kt rbac{f' --{part}' if part else ''}", parts[part]()
    click.echo(HEADING.format(command=command) + yaml.safe_dump_all(made, sort_keys=False), nl=False)


def _actions(config: Path | None) -> frozenset[str]:
    from kt.settings import load
    from remediate.actions import ACTIONS
    from remediate.playbook import load_playbooks

    folder = load(config, os.environ).guard.playbooks
    return manifests.used(load_playbooks(ACTIONS, Path(folder) if folder else None).values())
