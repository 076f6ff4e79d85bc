"""The four stages, each a plain function of the runtime and an incident; Celery only calls them."""
