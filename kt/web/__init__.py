"""The web face of KT: the webhook that takes alerts in, and what monitors ask."""
