"""The incident: an append-only log of events, the state that is a fold over them, and the port to where logs are kept."""
