import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.errors import SettingsError
from tasks.settings import (
    Cluster,
    Destination,
    SecretName,
    home,
    located,
    secret,
    writing_home,
)


@pytest.mark.parametrize(
    "url", ["https://elastic:changeme@es.example.com", "https://es.example.com?Password=changeme"]
)
def test_a_url_with_a_password_is_refused(url):
    """Parameters stand in clear in Prefect's database: no secret may be one."""
    with pytest.raises(SettingsError, match="`url` must not hold a password") as caught:
        Cluster(name="prod", url=url)
    assert "changeme" not in str(caught.value)


@pytest.mark.parametrize("host", ["[es.example.com", "es.example.\u2100"])
def test_what_is_no_url_is_refused_without_repeating_it(host):
    """What stands before its fault may be a password."""
    with pytest.raises(SettingsError, match="`url` is not a URL") as caught:
        Cluster(name="prod", url=f"https://elastic:changeme@{host}")
    assert "changeme" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("name", ["Prod", "prod_eu", "../prod", "prod eu", ""])
def test_a_name_that_cannot_stand_in_a_path_or_key_is_refused(name):
    """Names stand in paths, artifact keys and commands."""
    with pytest.raises(ValidationError):
        Cluster(name=name, url="https://es.example.com")


def test_a_misspelt_setting_is_refused():
    """A typo must not silently mean the default."""
    with pytest.raises(ValidationError, match="api_key"):
        Cluster(name="prod", url="https://es.example.com", api_key="ES_KEY")


def test_a_destination_without_clusters_is_refused():
    """A destination that hears of nothing is a mistake."""
    with pytest.raises(ValidationError):
        Destination(name="secops", channel="C1", clusters=())


def test_a_destination_names_a_time_zone_that_exists():
    """A typing error is refused before the first digest, with an example."""
    settings = {"name": "secops", "channel": "C1", "clusters": ("a",)}
    assert Destination(**settings).time_zone == "UTC"
    assert Destination(**settings, time_zone="Asia/Tokyo").time_zone == "Asia/Tokyo"
    with pytest.raises(ValidationError, match="write one like Europe/Berlin"):
        Destination(**settings, time_zone="Berlin")


def test_a_secret_has_one_place():
    """Of two nobody would know which one counts."""
    with pytest.raises(ValidationError, match="not both"):
        Cluster(name="prod", url="https://es", api_key_env="ES_KEY", api_key_block="es-key")
    with pytest.raises(ValidationError, match="not both"):
        Destination(
            name="secops", channel="C1", clusters=("a",), token_env="SLACK", token_block="slack"
        )


HTTP = "http://es.example.com:9200"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": HTTP, "api_key_env": "ES_KEY"}, "`url` begins with http://, so ES_KEY"),
        ({"url": HTTP, "api_key_block": "es-key"}, "so block es-key would be sent in clear text"),
        ({"url": "http://127.0.0.1.example.com", "api_key_env": "ES_KEY"}, "in clear text"),
        ({"url": "http://es\\@127.0.0.1", "api_key_env": "ES_KEY"}, "in clear text"),
        ({"channel": "C1", "clusters": ["a"], "api_url": HTTP}, "so SLACK_BOT_TOKEN would be"),
    ],
)
def test_a_secret_travels_only_by_https(settings, named):
    """Whoever listens on the way would have it."""
    model = Cluster if "url" in settings else Destination
    with pytest.raises(SettingsError, match=named) as caught:
        model(name="prod", **settings)
    assert "Use https://" in caught.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1:9200", "127.8.8.8", "localhost", "[::1]:9200"])
def test_on_this_machine_a_secret_needs_no_https(host):
    """A proxy or a test server; and without a secret there is nothing to hide."""
    Cluster(name="prod", url=f"http://{host}", api_key_env="ES_KEY")
    Destination(name="secops", channel="C1", clusters=("a",), api_url=f"http://{host}/api/")
    Cluster(name="prod", url=HTTP)


def test_the_address_of_slack_is_one():
    """A word without a scheme would fail only at the first post."""
    with pytest.raises(ValidationError, match="api_url"):
        Destination(name="secops", channel="C1", clusters=("a",), api_url="slack.com/api/")


def test_a_token_is_looked_for_where_the_settings_say():
    """Without a word in Slack's usual variable; a block takes its place."""
    settings = {"name": "secops", "channel": "C1", "clusters": ("a",)}
    assert str(Destination(**settings).token) == "SLACK_BOT_TOKEN"
    assert str(Destination(**settings, token_env="SECOPS").token) == "SECOPS"
    assert str(Destination(**settings, token_block="secops").token) == "block secops"


def test_the_home_variable_is_filled_in_where_it_is_used(monkeypatch):
    """prefect.yaml holds no path of a machine."""
    monkeypatch.setenv("BEACONHUNT_HOME", "/srv/beaconhunt")
    assert (
        located("sqlite:///$BEACONHUNT_HOME/history.db") == "sqlite:////srv/beaconhunt/history.db"
    )


def test_without_the_variable_home_is_below_the_users(monkeypatch):
    """A first try needs no setting."""
    monkeypatch.delenv("BEACONHUNT_HOME", raising=False)
    assert home() == Path.home() / ".beaconhunt"
    assert located("~/archive") == str(Path.home() / "archive")


def test_a_missing_secret_is_named_but_never_shown(monkeypatch):
    """The operator learns which variable to set; an empty one is as good as none."""
    monkeypatch.setenv("ES_KEY", " ")
    with pytest.raises(SettingsError, match="ES_KEY") as caught:
        secret(SecretName("ES_KEY"), "API key of prod")
    assert "EnvironmentFile" in caught.value.remedy


@pytest.mark.parametrize("value", ["canary\ncanary", "canary\x00", "canäry", "canary\u200b"])
def test_a_secret_that_no_header_can_hold_is_refused_and_never_shown(monkeypatch, value):
    """Two lines pasted into one variable, most often; the client's own error would repeat them."""
    monkeypatch.setattr(os, "environ", {"SLACK_BOT_TOKEN": value})
    with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN") as caught:
        secret(SecretName("SLACK_BOT_TOKEN"), "Slack's bot token")
    assert "on one line" in caught.value.remedy
    assert "can" not in str(caught.value)


def test_a_line_break_at_the_end_of_a_secret_is_none_of_it(monkeypatch):
    """Files end with one."""
    monkeypatch.setenv("ES_KEY", "canary\n")
    assert secret(SecretName("ES_KEY"), "test").get_secret_value() == "canary"


def test_a_secret_does_not_show_itself(monkeypatch):
    """Neither repr nor str of a secret holds its value."""
    monkeypatch.setenv("ES_KEY", "canary")
    assert (
        "canary"
        not in f"{secret(SecretName('ES_KEY'), 'test')!r}{secret(SecretName('ES_KEY'), 'test')}"
    )


def test_a_place_that_cannot_be_written_is_named_with_the_variable_that_moves_it(tmp_path):
    """Most often the folder belongs to somebody else."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as caught, writing_home():
        (tmp_path / "file" / "folder").mkdir()
    assert str(tmp_path / "file" / "folder") in caught.value.problem
    assert "BEACONHUNT_HOME" in caught.value.remedy
