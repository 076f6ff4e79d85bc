"""What an experiment is about, for its report and for the score of a service: `namespace/name`, out of its actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
    acted_on = {each for each in reach(experiment, variables, environ) if each.name}
    return tuple(sorted(f"{each.namespace}/{each.name}" for each in acted_on))


class Reached(NamedTuple):
    """What one action acts on: something of this name, or, where it names nothing, whatever is in the namespace."""

    namespace: str
    name: str


def reach(experiment: Mapping[str, Any], variables: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[Reached]:
    """For each action of the method that acts in a namespace, what it acts on there."""
    known = plain.configuration(experiment, variables, environ)
    for activity in experiment.get("method") or ():
        provider = activity.get("provider")
        if activity.get("type") == "action" and isinstance(provider, dict):
            arguments = plain.filled(provider.get("arguments") or {}, known)
            module = str(provider.get("module", ""))
            if isinstance(arguments, dict) and not module.startswith(plain.CLUSTER_WIDE):
                yield from _of(arguments, module)


def _of(arguments: Mapping[str, Any], module: str) -> Iterator[Reached]:
    otherwise = plain.DEFAULT_NAMESPACE if module.startswith("chaosk8s.") else None
    namespace = next((arguments[key] for key in plain.NAMESPACE_ARGUMENTS if arguments.get(key)), otherwise)
    named = [str(arguments[key]) for key in NAMED if arguments.get(key)]
    others = [each for each in named if not each.startswith(OWN_NAMES)]
    names = others or [name for key in SELECTORS if (name := _app(arguments.get(key)))]
    if named and not names:
        return  # it is about something of KT's own
    for place in namespace if isinstance(namespace, list) else [namespace]:
        if place:
            yield Reached(str(place), names[0] if names else "")


def _app(selector: Any) -> str:
    """The name of the program that a label selector means; empty when it does not say."""
    if isinstance(selector, str):
        pairs = dict(part.split("=", 1) for part in selector.replace("==", "=").split(",") if "=" in part)
    else:
        pairs = selector if isinstance(selector, dict) else {}
    return next((str(pairs[label]) for label in APP_LABELS if label in pairs), "")
