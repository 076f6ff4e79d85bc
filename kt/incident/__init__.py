"""The incident: a log of events, the state that is a fold over them, and the port to where logs are kept."""
