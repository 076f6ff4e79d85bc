"""What an experiment is about, for its report and for the score of a service: `namespace/name`, out of its actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify import plain
from verify.stop_when import extension

NAMED = ("service", "name", "deployment_name", "statefulset_name")
SELECTORS = ("label_selector", "label_selectors", "pod_selector", "to")
APP_LABELS = ("app", "app.kubernetes.io/name", "k8s-app")
OWN_NAMES = ("kt-chaos-",)
"""How things are called that an attack of KT creates: they are not what it is about."""


def targets(experiment: Mapping[str, Any], variables: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Sorted; those of the extension `kt` where it names some (`Kind/namespace/name`), else those of the actions."""
    named = extension(experiment, "").targets
    if named:
        return tuple(sorted({"/".join(each.split("/")[-2:]) for each in named}))
    known = plain.configuration(experiment, variables, environ)
    found: set[str] = set()
    for activity in experiment.get("method") or ():
        provider = activity.get("provider")
        if activity.get("type") == "action" and isinstance(provider, dict):
            arguments = plain.filled(provider.get("arguments") or {}, known)
            if isinstance(arguments, dict):
                found.update(_of(arguments))
    return tuple(sorted(found))


def _of(arguments: Mapping[str, Any]) -> Iterator[str]:
    namespace = next((arguments[key] for key in plain.NAMESPACE_ARGUMENTS if arguments.get(key)), None)
    for place in namespace if isinstance(namespace, list) else [namespace]:
        names = [str(arguments[key]) for key in NAMED if arguments.get(key)]
        names = [each for each in names if not each.startswith(OWN_NAMES)]
        names = names or [name for key in SELECTORS if (name := _app(arguments.get(key)))]
        yield from (f"{place}/{name}" for name in names[:1] if place)


def _app(selector: Any) -> str:
    """The name of the program that a label selector means; empty when it does not say."""
    if isinstance(selector, str):
        pairs = dict(part.split("=", 1) for part in selector.replace("==", "=").split(",") if "=" in part)
    else:
        pairs = selector if isinstance(selector, dict) else {}
    return next((str(pairs[label]) for label in APP_LABELS if label in pairs), "")
