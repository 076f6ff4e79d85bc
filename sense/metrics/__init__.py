"""Metrics as evidence: what changed at the onset of an incident, how surely, and how much of a burden it is.

`rules` tells what a metric's name means, `reading` takes series out of files, `change` judges one series, `changes`
makes signals and burdens of all of them, `onset` finds when it began, `evidence` does all of it. numpy is imported here
and nowhere else in KT, so that commands without metrics do not pay for it.
"""
