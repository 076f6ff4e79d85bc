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


def test_a_value_may_come_from_a_file_without_its_last_newline(tmp_path: Path) -> None:
    token, port, broker = tmp_path / "token", tmp_path / "port", tmp_path / "broker"
    token.write_text(" s3cret \n")
    port.write_text("9001\r\n")
    broker.write_text("memory://")
    settings = load(
        None, {"KT_WEB__TOKEN_FILE": str(token), "KT_WEB__PORT_FILE": str(port), "KT_BROKER_URL_FILE": str(broker)}
    )
    assert (settings.web.token, settings.web.port, settings.broker_url) == (" s3cret ", 9001, "memory://")


def test_a_file_overrides_what_the_settings_file_says(tmp_path: Path) -> None:
    config, token = tmp_path / "kt.toml", tmp_path / "token"
    config.write_text('[web]\ntoken = "old"')
    token.write_text("new\n")
    assert load(config, {"KT_WEB__TOKEN_FILE": str(token)}).web.token == "new"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"KT_WEB__TOKEN_FILE": "{folder}/none"}, "KT_WEB__TOKEN_FILE: the file “.*none” cannot be read: No such file"),
        ({"KT_WEB__TOKEN_FILE": "{folder}"}, "KT_WEB__TOKEN_FILE: .* cannot be read: Is a directory"),
        ({"KT_WEB__TOKEN_FILE": "{folder}/empty"}, "KT_WEB__TOKEN_FILE: the file .* is empty"),
        ({"KT_WEB__TOKEN_FILE": "{folder}/binary"}, "KT_WEB__TOKEN_FILE: .* it is not text"),
        ({"KT_WEB__TOKEN_FILE": "{folder}/full", "KT_WEB__TOKEN": ""}, "KT_WEB__TOKEN and KT_WEB__TOKEN_FILE are both"),
        ({"KT_WEB__TOKNE_FILE": "{folder}/full"}, "tokne"),
        ({"KT_CONFIG_FILE": "{folder}/full"}, "config"),
    ],
)
def test_a_mistake_with_a_file_is_named_and_its_content_is_not(
    tmp_path: Path, environ: dict[str, str], says: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "full").write_text("s3cret")
    with pytest.raises(BadSettings, match=says) as told:
        load(None, {name: value.format(folder=tmp_path) for name, value in environ.items()})
    assert "s3cret" not in str(told.value)
