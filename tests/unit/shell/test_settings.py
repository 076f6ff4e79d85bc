"""Settings: a typo is an error, the environment wins, the message says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from kt.settings import BadSettings, load


def test_defaults_are_safe() -> None:
    settings = load(None, {})
    assert settings.guard.enabled is False
    assert settings.approval.high == 2
    assert settings.web.host == "127.0.0.1"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kt.toml"
    file.write_text('broker_url = "memory://"\n[guard]\ncooldown_s = 5\nenabled = false\n')
    settings = load(file, {"KT_GUARD__ENABLED": "true", "KT_WEB__PORT": "9000", "KT_TEST_NEO4J_URI": "x", "HOME": "/"})
    assert (settings.broker_url, settings.guard.cooldown_s) == ("memory://", 5)
    assert (settings.guard.enabled, settings.web.port) == (True, 9000)


def test_kt_config_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kt.toml"
    file.write_text('data_dir = "elsewhere"')
    assert load(None, {"KT_CONFIG": str(file)}).data == Path("elsewhere")


@pytest.mark.parametrize(
    ("text", "environ", "says"),
    [
        ("[guard]\nenabeld = true", {}, "enabeld"),
        ("", {"KT_GUARD__COOLDOWN": "3"}, "cooldown"),
        ("", {"KT_GUARD__COOLDOWN_S": "soon"}, "guard.cooldown_s"),
        ("[approval]\nhigh = 3", {}, "approval.high"),
        ("[web", {}, "not TOML"),
        ("", {"KT_BROKER_URL__X": "1"}, "broker_url"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, environ: dict[str, str], says: str) -> None:
    file = tmp_path / "kt.toml"
    file.write_text(text)
    with pytest.raises(BadSettings, match=says):
        load(file, environ)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"none\.toml cannot be read"):
        load(tmp_path / "none.toml", {})
