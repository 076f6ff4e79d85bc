"""The command `python -m testbed`."""

import argparse
import shlex
import sys
import time

from testbed import packages, servers
from testbed.errors import TestbedError


def _up(arguments: argparse.Namespace) -> None:
    names = arguments.only.split(",") if arguments.only else list(servers.everything())
    for name in names:
        begin = time.monotonic()
        servers.ensure([name])
        print(f"{name} up after {time.monotonic() - begin:.1f} s", file=sys.stderr)


def _install(_: argparse.Namespace) -> None:
    for package in packages.install():
        print(f"{package} installed", file=sys.stderr)


def _down(_: argparse.Namespace) -> None:
    servers.down()


def _status(_: argparse.Namespace) -> None:
    for name, line in servers.status().items():
        print(f"{name:13} {line}")


def _env(_: argparse.Namespace) -> None:
    for variable, value in servers.environment().items():
        print(f"export {variable}={shlex.quote(value)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description="Real servers for the tests.")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("install", help="install missing system packages").set_defaults(do=_install)
    up = commands.add_parser("up", help="start what is not running")
    up.add_argument("--only", metavar="NAMES", help=f"comma-separated, of {','.join(servers.everything())}")
    up.set_defaults(do=_up)
    commands.add_parser("down", help="end everything, leave nothing").set_defaults(do=_down)
    commands.add_parser("status", help="what runs").set_defaults(do=_status)
    commands.add_parser("env", help="print export lines for a shell").set_defaults(do=_env)
    return parser


def main() -> int:
    """Run one command; 1 and one clear line when it cannot be done."""
    arguments = _parser().parse_args()
    try:
        arguments.do(arguments)
    except TestbedError as problem:
        print(f"testbed: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
