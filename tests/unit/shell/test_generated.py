"""What is made out of the code and kept as a file is current, and is true."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from kt.settings_reference import reference
from remediate.actions import ACTIONS
from remediate.playbook import BadPlaybook, read_playbook, schema

ROOT = Path(__file__).parents[3]
PLAYBOOKS = sorted((ROOT / "remediate" / "playbooks").glob("*.yaml"))
RIGHT = """\
name: own
about: x
targets: [Pod]
risk: low
steps:
  - action: restart
steady_state: [symptoms-gone]
undo: none
"""


def test_the_settings_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == reference(), "run `make docs`"


def test_the_schema_of_playbooks_is_current() -> None:
    kept = resources.files("remediate").joinpath("playbooks/schema.json").read_text()
    assert json.loads(kept) == schema(), "run `make docs`"


@pytest.mark.parametrize("file", PLAYBOOKS, ids=lambda file: file.stem)
def test_every_playbook_that_comes_with_kt_fits_the_schema(file: Path) -> None:
    jsonschema.validate(yaml.safe_load(file.read_text()), schema())


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("action: restart", "action: explode"), 6, "“explode” is no action"),
        (("[symptoms-gone]", "[all-well]"), 7, "“all-well” is no steady state"),
        (("risk: low", "risk: none"), 4, "risk"),
        (("undo: none", "undoo: none"), 8, "undoo"),
        (("  - action: restart", "  - action: restart\n    wrong: 1"), 7, "wrong"),
        (("about: x", "about: [x"), 3, "not YAML"),
        (("undo: none\n", ""), 1, "undo"),
        (("action: restart", "action: scale-out\n    parameters:\n      factor: 0.5"), 8, "`float` > 1"),
        (("action: restart", "action: restart\n    parameters: {fast: true}"), 7, "unknown field `fast`"),
        (("action: restart", "action: scale-up\n    parameters: {max_cpu: much}"), 7, "“much” is no quantity"),
        (("action: restart", "action: call-webhook\n    parameters: {url: ftp://x/y}"), 7, "url"),
        (
            ("action: restart", "action: call-webhook\n    parameters: {url: http://x, webhooks: [http://x]}"),
            7,
            "unknown field `webhooks`",
        ),
        (("action: restart", "action: run-job\n    parameters: {job: {}}"), 7, "the spec of a Job"),
    ],
)
def test_a_mistake_in_a_playbook_is_told_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, says: str
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(RIGHT.replace(*change))
    with pytest.raises(BadPlaybook) as caught:
        read_playbook(file, ACTIONS)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert says in str(caught.value)


def test_a_playbook_that_is_right_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(RIGHT)
    assert read_playbook(tmp_path / "own.yaml", ACTIONS).name == "own"
    with pytest.raises(BadPlaybook, match=r"none\.yaml cannot be read"):
        read_playbook(tmp_path / "none.yaml", ACTIONS)


def test_every_setting_says_what_it_means() -> None:
    rows = [row.split(" | ") for row in reference().splitlines() if row.startswith("| `")]
    assert [key for key, _, meaning, _ in rows if not meaning.strip() or meaning.startswith("(")] == []
