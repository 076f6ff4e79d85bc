"""`kt`: the command line. Finds the command, turns a person's mistakes into one clear line, nothing else."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

COMMANDS = {
    "serve": ("kt.commands.serve", "Take alerts in over HTTP; with --embedded everything in one process."),
    "worker": ("kt.commands.serve", "Run the stages: as many of these as you like."),
    "beat": ("kt.commands.serve", "Follow the cluster and ask for every step that is due."),
    "incidents": ("kt.commands.incidents", "List incidents, show one, watch them, export one, confirm a cause."),
    "show": ("kt.commands.incidents", "All there is to decide on for one incident."),
    "approvals": ("kt.commands.incidents", "What waits for somebody to agree."),
    "approve": ("kt.commands.approve", "Agree to the plan of an incident."),
    "reject": ("kt.commands.approve", "Turn the plan of an incident down."),
    "chaos": ("kt.commands.chaos", "Chaos Toolkit experiments on schedule: add, run, history, abort."),
    "revoke": ("kt.commands.approve", "Take back what was agreed to, before anything was done."),
    "undo": ("kt.commands.undo", "Take back what was done for an incident, also days later."),
    "tokens": ("kt.commands.tokens", "Who may decide: make, list and revoke operators' tokens."),
    "stop": ("kt.commands.brake", "Hold everything: nothing touches the cluster until you resume."),
    "resume": ("kt.commands.brake", "Let go of a stop."),
    "notify": ("kt.commands.notify", "Send a test message to everybody who is told of things."),
    "guard": ("kt.commands.brake", "Why a plan may or may not act."),
    "demo": ("kt.commands.demo", "Break a simulated shop and watch it being healed."),
    "diagnose": ("kt.commands.diagnose", "Find the cause in files, without a cluster."),
    "replay": ("kt.commands.replay", "Recorded incidents against other knowledge: what would change."),
    "rbac": ("kt.commands.rbac", "Print what KT must be allowed in the cluster."),
    "health": ("kt.commands.health", "Ask a process of KT whether it is well."),
    "playbooks": ("kt.commands.playbooks", "List playbooks, show one, check a file of your own."),
    "knowledge": ("kt.commands.knowledge", "Fault modes that KT knows; unmapped alert rules; what was learned."),
    "doctor": ("kt.commands.doctor", "What is configured, what answers, what is missing."),
}


class Lazy(click.Group):
    """Knows the names and one-line helps of its commands without importing them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[name][0]), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            meant = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `kt {meant[0]}`?" if meant else ""
            raise click.UsageError(f"kt has no command “{args[0]}”.{hint}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML); else KT_CONFIG.")
@click.version_option(package_name="ktserver", prog_name="kt")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """KT finds the cause of an incident on Kubernetes, repairs it within your limits and attacks the fix."""
    context.obj = config


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 not done, 2 wrong use or wrong input."""
    from graph_schema.located import BadKnowledge
    from graph_schema.store import StoreUnavailable
    from kt.incident.log import LogCorrupted, LogUnavailable
    from kt.settings import BadSettings
    from remediate.playbook import BadPlaybook
    from sense.mapping import BadMapping
    from verify.plain import BadExperiment

    try:
        # Outside of standalone mode click gives back the code that a command ended with, instead of ending.
        ended: object = cli(arguments, standalone_mode=False)
        sys.exit(ended if isinstance(ended, int) else 0)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (BadSettings, BadKnowledge, BadMapping, BadPlaybook, BadExperiment) as error:
        _say(error)
        sys.exit(2)
    except (LogUnavailable, StoreUnavailable, LogCorrupted) as error:
        _say(error)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _say(error: Exception) -> None:
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {error}", err=True)
