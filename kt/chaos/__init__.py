"""Scheduled chaos: when an experiment is due, whether it may run, running it, and undoing what a dead runner left."""
