"""The pipeline: Celery tasks that each take one step of one incident, and the sweep that never forgets one."""
