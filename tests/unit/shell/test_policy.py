"""The policy in the settings file: followed while KT runs; a wrong one is refused with its line and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kt.policy import Policy, PolicyFile, changes, policy_of
from kt.settings import BadSettings, load
from kt.toml_lines import line_of

GOOD = """\
[guard]
enabled = true
cooldown_s = 60

[[guard.freezes]]
start = 2026-11-27T00:00:00Z
end = 2026-12-01T00:00:00Z

[[guard.freezes]]
cron = "0 16 * * FRI"
duration_s = 3600
"""


class Followed:
    """A settings file that a test writes, and a policy that follows it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.now = folder / "kt.toml", 0.0
        self.told: list[tuple[str, str]] = []
        self.write(GOOD)
        self.policy = PolicyFile(self.path, {}, load(self.path, {}), told=self.tell, monotonic=lambda: self.now)

    def tell(self, policy: Policy, problem: str) -> None:
        self.told.append((policy.version, problem))

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def look(self) -> Policy:
        self.now += 1.0
        return self.policy()


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_a_change_holds_at_the_next_look(followed: Followed) -> None:
    before = followed.look()
    followed.write(GOOD.replace("cooldown_s = 60", "cooldown_s = 90"))
    after = followed.look()
    assert after.guard.limits.cooldown_s == 90
    assert list(changes(before, after)) == ["guard.cooldown_s: 60.0 → 90.0"]
    assert followed.told == [(after.version, "")]


@pytest.mark.parametrize(
    ("wrong", "line", "said"),
    [
        (GOOD.replace("cooldown_s = 60", "cooldwn_s = 60"), 3, "cooldwn_s"),
        (GOOD.replace("cooldown_s = 60", "cooldown_s = -1"), 3, "cooldown_s"),
        (GOOD.replace('cron = "0 16 * * FRI"', 'cron = "soon"'), 9, "no cron expression"),
        (GOOD.replace("duration_s = 3600", 'duration_s = "long"'), 11, "duration_s"),
        (GOOD + "\n[approval]\nhigh = 3\n", 14, "high"),
        (GOOD + "\n[guard\n", 13, "not TOML"),
    ],
)
def test_a_wrong_one_is_refused_with_its_line_and_the_one_before_holds(
    followed: Followed, wrong: str, line: int, said: str
) -> None:
    before = followed.look()
    followed.write(wrong)
    assert followed.look() == before
    assert followed.look() == before
    ((version, problem),) = followed.told
    assert version == before.version
    assert said in problem
    assert f"kt.toml:{line}" in problem or f"line {line}" in problem
    followed.write(GOOD)
    assert followed.look() == before
    assert followed.told[-1] == (before.version, "")


def test_a_file_that_is_gone_changes_nothing(followed: Followed) -> None:
    before = followed.look()
    followed.path.unlink()
    assert followed.look() == before
    assert "cannot be read" in followed.policy.problem


def test_the_same_content_has_the_same_version_wherever_it_is_written(tmp_path: Path) -> None:
    one, other = tmp_path / "a.toml", tmp_path / "b.toml"
    one.write_text("[guard]\nenabled = true\ncooldown_s = 60\n")
    other.write_text("# ours\n[guard]\ncooldown_s = 60.0\nenabled = true\n[web]\nport = 1\n")
    assert policy_of(load(one, {})).version == policy_of(load(other, {})).version
    assert policy_of(load(one, {})).version != policy_of(load(None, {})).version


def test_a_mistake_is_told_with_its_line_at_the_start_too(tmp_path: Path) -> None:
    file = tmp_path / "kt.toml"
    file.write_text("data_dir = 'x'\n\n[store]\nkind = 'oracle'\n")
    with pytest.raises(BadSettings, match=r"kt.toml:4: .*oracle"):
        load(file, {})


def test_lines_are_found_in_dotted_and_quoted_keys_too() -> None:
    text = "[a]\n'b'.c = 1\n[[a.d]]\nx = 1\n[[a.d]]\nx = 2\n"
    paths: list[list[str | int]] = [["a"], ["a", "b", "c"], ["a", "d", 1, "x"], ["z"], []]
    assert [line_of(text, path) for path in paths] == [1, 2, 6, 1, 1]
