"""Where incidents and leases are kept: one SQLite file, or Neo4j. Both fulfil the ports in `kt.incident.log`."""
