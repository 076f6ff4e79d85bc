"""Incidents of a real cluster: injected into the testbed's shop, recorded as files, diagnosed from those files."""
