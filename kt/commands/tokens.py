"""`kt tokens`: who may decide. A token is shown once, when it is made."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from kt.operators import ROLES, NoAuthority, Operators, Role, issue
from kt.settings import Settings, load


@click.group()
def tokens() -> None:
    """Make, list and revoke operators' tokens."""


@tokens.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="approver", show_default=True)
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds the token of an admin, once there is one.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def create(config: Path | None, name: str, role: Role, token_file: Path | None, as_json: bool) -> None:
    """Make a token for NAME and print it: the only time that it is seen. The first one must be an admin's."""
    import msgspec

    settings = load(config, os.environ)
    operators = _operators(settings)
    if not _admins(operators) and role != "admin" and settings.approval.require_tokens:
        raise click.UsageError("the first token must be an admin's: kt tokens create NAME --role admin")
    by = _admin(settings, operators, token_file)
    operator, token = issue(name, role, by=by, at=datetime.now(UTC))
    try:
        operators.add(operator)
    except NoAuthority as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        answer = {"id": operator.id, "name": name, "role": role, "token": token}
        click.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
        return
    click.echo(f"Token {operator.id} of {name} ({role}), shown this once:", err=True)
    click.echo(token)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable answer.")
@click.pass_obj
def list_(config: Path | None, as_json: bool) -> None:
    """Whose tokens there are; what they are is kept nowhere."""
    import msgspec

    found = _operators(load(config, os.environ)).all()
    if as_json:
        shown = [{key: value for key, value in msgspec.to_builtins(each).items() if key != "digest"} for each in found]
        click.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    if not found:
        click.echo("No token. The first one must be an admin's: kt tokens create NAME --role admin")
    for each in found:
        revoked = f"  revoked {each.revoked_at:%Y-%m-%d %H:%M}" if each.revoked_at else ""
        click.echo(f"{each.id}  {each.created_at:%Y-%m-%d %H:%M}  {each.role:<9} {each.name}{revoked}")


@tokens.command()
@click.argument("id_", metavar="ID")
@click.option("--token-file", type=click.Path(path_type=Path), help="Holds the token of an admin.")
@click.pass_obj
def revoke(config: Path | None, id_: str, token_file: Path | None) -> None:
    """Revoke the token of this ID; it is refused from now on."""
    settings = load(config, os.environ)
    operators = _operators(settings)
    _admin(settings, operators, token_file)
    if not operators.revoke(id_, datetime.now(UTC)):
        raise click.ClickException(f"no valid token has the id “{id_}”; `kt tokens list` shows them")
    click.echo("Revoked.")


def _operators(settings: Settings) -> Operators:
    from kt.stores.places import open_operators

    return open_operators(settings)


def _admins(operators: Operators) -> list[str]:
    return [each.name for each in operators.all() if each.role == "admin" and each.revoked_at is None]


def _admin(settings: Settings, operators: Operators, token_file: Path | None) -> str:
    """Who manages tokens: an admin by token where they are required, as soon as there is one."""
    from kt.commands.approve import decider

    required = settings.approval.require_tokens and bool(_admins(operators))
    return decider(settings, "", token_file, "admin", required=required)
