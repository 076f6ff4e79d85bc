"""The cluster as it is: topology kept in step by list and watch, changes as events."""
