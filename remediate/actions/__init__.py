"""The registry of actions, each in a file of its own: what a playbook's steps are made of."""

from __future__ import annotations

from remediate.actions.base import Action, CannotAct, Mark, Outcome
from remediate.actions.config import RestoreConfig
from remediate.actions.cordon import Cordon, Uncordon
from remediate.actions.evict import EvictPods
from remediate.actions.hpa import RaiseHpaMaximum
from remediate.actions.pause import PauseRollout, ResumeRollout
from remediate.actions.restart import Restart
from remediate.actions.rollback import RollBack
from remediate.actions.scale import ScaleOut
from remediate.actions.terminate import TerminatePod
from remediate.actions.users import RestartUsers

ALL: tuple[Action, ...] = (
    ScaleOut(),
    RaiseHpaMaximum(),
    RollBack(),
    PauseRollout(),
    ResumeRollout(),
    Restart(),
    TerminatePod(),
    RestoreConfig(),
    RestartUsers(),
    Cordon(),
    Uncordon(),
    EvictPods(),
)
ACTIONS: dict[str, Action] = {action.name: action for action in ALL}

__all__ = ["ACTIONS", "Action", "CannotAct", "Mark", "Outcome"]
