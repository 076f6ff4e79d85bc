"""A small deterministic cluster: it speaks the Kubernetes API and the asked part of the Prometheus API over HTTP."""
