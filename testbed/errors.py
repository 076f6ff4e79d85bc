"""What can go wrong in the testbed."""


class TestbedError(Exception):
    """A server of the testbed did not do what it should; the message names the server and its log."""

    __test__ = False  # pytest: not a test class


class Missing(TestbedError):
    """A server cannot be had on this machine; the message names what is missing and how to get it."""
