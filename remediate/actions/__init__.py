"""The registry of actions, each in a file of its own: what a playbook's steps are made of."""

from __future__ import annotations

from remediate.actions.base import Action, CannotAct, Mark, Outcome
from remediate.actions.clean_up import CleanUpPods
from remediate.actions.config import RestoreConfig
from remediate.actions.cordon import Cordon, Uncordon
from remediate.actions.cronjob import PauseCronJob, ResumeCronJob
from remediate.actions.evict import EvictPods
from remediate.actions.hibernate import Hibernate, Wake
from remediate.actions.hpa import RaiseHpaMaximum
from remediate.actions.invalid import TerminateInvalid
from remediate.actions.move import MoveBusy
from remediate.actions.own_job import RunJob
from remediate.actions.own_webhook import CallWebhook
from remediate.actions.pause import PauseRollout, ResumeRollout
from remediate.actions.quarantine import Quarantine
from remediate.actions.resources import ScaleUp
from remediate.actions.restart import Restart
from remediate.actions.rollback import RollBack
from remediate.actions.scale import ScaleOut
from remediate.actions.terminate import TerminatePod
from remediate.actions.users import RestartUsers
from remediate.actions.volume import ExpandVolume
from remediate.actions.zone import LeaveZone

ALL: tuple[Action, ...] = (
    ScaleOut(),
    ScaleUp(),
    RaiseHpaMaximum(),
    RollBack(),
    PauseRollout(),
    ResumeRollout(),
    Restart(),
    TerminatePod(),
    TerminateInvalid(),
    MoveBusy(),
    RestoreConfig(),
    RestartUsers(),
    Cordon(),
    Uncordon(),
    EvictPods(),
    LeaveZone(),
    Quarantine(),
    CleanUpPods(),
    ExpandVolume(),
    Hibernate(),
    Wake(),
    PauseCronJob(),
    ResumeCronJob(),
    RunJob(),
    CallWebhook(),
)
ACTIONS: dict[str, Action] = {action.name: action for action in ALL}

__all__ = ["ACTIONS", "Action", "CannotAct", "Mark", "Outcome"]
