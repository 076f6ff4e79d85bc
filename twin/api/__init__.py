"""The Kubernetes API of the twin over HTTP."""
