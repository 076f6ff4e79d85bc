"""`kt rbac`: the rights that KT needs in a cluster, as manifests for `kubectl apply -f -`. Asks no cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import yaml

from kt import rbac as manifests

HEADING = "# Made by `{command}` out of what the code declares; change it there.\n"


@click.command()
@click.option("--act", "part", flag_value="act", help="What the actions of playbooks need.")
@click.option("--verify", "part", flag_value="verify", help="What experiments need.")
@click.option("--chaos", "part", flag_value="chaos", help="What scheduled attacks need; with --namespace its bindings.")
@click.option("--namespace", metavar="NAME", help="The bindings that let KT act and verify in this namespace.")
def rbac(part: str | None, namespace: str | None) -> None:
    """Print the rights that KT needs to watch a cluster, to act (--act), to verify (--verify), for --chaos."""
    if part and part != "chaos" and namespace:
        raise click.UsageError("--namespace prints bindings, without --act and --verify")
    if namespace and part:
        command = f"kt rbac --chaos --namespace {namespace}"
        made = manifests.granted(namespace, ("kt-chaos", "kt-verify"))
    elif namespace:
        command, made = f"kt rbac --namespace {namespace}", manifests.granted(namespace)
    else:
        parts: dict[str | None, Callable[[], list[dict[str, Any]]]] = {
            None: manifests.watching, "act": manifests.acting, "verify": manifests.verifying,
            "chaos": manifests.attacking,
        }  # fmt: skip
        command, made = f"kt rbac{f' --{part}' if part else ''}", parts[part]()
    click.echo(HEADING.format(command=command) + yaml.safe_dump_all(made, sort_keys=False), nl=False)
