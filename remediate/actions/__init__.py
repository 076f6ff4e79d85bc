"""The registry of actions, each in a file of its own: what a playbook's steps are made of."""

from __future__ import annotations

from remediate.actions.base import Action, CannotAct, Outcome
from remediate.actions.cordon import Cordon
from remediate.actions.evict import EvictPods
from remediate.actions.restart import Restart
from remediate.actions.rollback import RollBack
from remediate.actions.scale import ScaleOut

ACTIONS: dict[str, Action] = {
    action.name: action for action in (ScaleOut(), RollBack(), Restart(), Cordon(), EvictPods())
}

__all__ = ["ACTIONS", "Action", "CannotAct", "Outcome"]
