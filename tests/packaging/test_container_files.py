"""What can be said of Dockerfile and docker-compose.yml without an engine: they name things that exist."""

import fnmatch
import runpy
from pathlib import Path
from typing import Any

import dockerfile
import pytest
import yaml

from edgecache.core.units import parse_duration
from edgecache.settings import NOT_SETTINGS, Settings, load

ROOT = Path(__file__).parents[2]
UPSTREAM = ("EDGECACHE_UPSTREAM", "EDGECACHE_UPSTREAM_KEY")


@pytest.fixture
def last() -> dockerfile.Stage:
    """The stage that becomes the image."""
    return dockerfile.read(ROOT / "Dockerfile")[1][-1]


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture
def nodes(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == "edgecache"}


def settings_of(variables: dict[str, str]) -> Settings:
    """As a node would read them; an unknown variable raises. The image's folder of policies is not on this machine."""
    return load(None, {**variables, "EDGECACHE_POLICIES": str(ROOT / "policies")})


def test_the_image_s_variables_are_settings(last: dockerfile.Stage) -> None:
    settings = settings_of(dockerfile.environment(last))
    assert settings.listen.traffic == "0.0.0.0:8080"
    assert settings.listen.admin == "0.0.0.0:8081"
    assert settings.folder == Path("/data")


def test_every_folder_that_the_image_s_variables_name_is_in_it(last: dockerfile.Stage) -> None:
    copied = {step.rest.split()[-1] for step in last.steps if step.keyword == "COPY"}
    named = {value for name, value in dockerfile.environment(last).items() if value.startswith("/") and name != "PATH"}
    assert named == {"/data", "/models", "/policies"}
    assert named <= copied


def test_an_unknown_variable_would_be_noticed() -> None:
    with pytest.raises(Exception, match="EDGECACHE_STORE_UR: no setting has this variable"):
        settings_of({"EDGECACHE_STORE_UR": "redis://valkey:6379"})


def test_the_image_does_not_run_as_root(last: dockerfile.Stage) -> None:
    users = [step.rest for step in last.steps if step.keyword == "USER"]
    assert users == ["10001:10001"]
    owned = [step.rest for step in last.steps if step.keyword == "COPY" and "--chown=10001:10001" in step.rest]
    assert {rest.split()[-1] for rest in owned} == {"/models", "/data"}


def test_the_image_serves_by_default_and_stops_by_what_the_node_drains_on(last: dockerfile.Stage) -> None:
    assert dockerfile.exec_form(last, "ENTRYPOINT") == ["edgecache"]
    assert dockerfile.exec_form(last, "CMD") == ["serve"]
    assert dockerfile.Step("STOPSIGNAL", "SIGTERM") in last.steps
    assert dockerfile.Step("VOLUME", "/data") in last.steps
    assert dockerfile.Step("EXPOSE", "8080 8081") in last.steps


@pytest.mark.parametrize("models", ["inside", "none"])
def test_every_stage_named_is_there(models: str) -> None:
    arguments, stages = dockerfile.read(ROOT / "Dockerfile")
    arguments["MODELS"] = models
    named = {stage.name for stage in stages if stage.name}
    for stage in stages:
        base = stage.base.replace("${MODELS}", models).replace("${PYTHON}", arguments["PYTHON"])
        assert base in named or base == "python:3.11-slim"


def test_what_is_copied_from_the_project_is_there_and_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    shown = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    for stage in dockerfile.read(ROOT / "Dockerfile")[1]:
        for step in stage.steps:
            if step.keyword == "COPY" and "--from" not in step.rest:
                for source in step.rest.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert any(fnmatch.fnmatch(source, pattern) for pattern in shown), source


def test_compose_has_two_nodes_on_one_valkey(nodes: dict[str, dict[str, Any]]) -> None:
    assert len(nodes) == 2
    for node in nodes.values():
        variables = {name: value for name, value in node["environment"].items() if value is not None}
        assert settings_of(variables).store.url == "redis://valkey:6379"
        assert "EDGECACHE_ANONYMOUS_SCOPE" not in variables
        assert all(name in UPSTREAM for name, value in node["environment"].items() if value is None)
    assert len({node["environment"]["EDGECACHE_NODE"] for node in nodes.values()}) == 2
    assert len({port for node in nodes.values() for port in node["ports"]}) == 4


def test_only_this_machine_reaches_what_compose_publishes(nodes: dict[str, dict[str, Any]]) -> None:
    assert all(port.startswith("127.0.0.1:") for node in nodes.values() for port in node["ports"])


def test_compose_waits_longer_than_a_node_drains(nodes: dict[str, dict[str, Any]]) -> None:
    for node in nodes.values():
        assert parse_duration(node["stop_grace_period"]) > Settings().drain


def test_valkey_keeps_what_was_acknowledged_and_evicts_nothing(compose: dict[str, Any]) -> None:
    command = compose["services"]["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--appendfsync": "everysec", "--maxmemory-policy": "noeviction"}
    assert compose["services"]["valkey"]["healthcheck"]["test"][0] == "CMD-SHELL"


def test_every_volume_and_service_named_is_there(compose: dict[str, Any], nodes: dict[str, dict[str, Any]]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= set(compose["services"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (ROOT / source).is_dir() if source.startswith(".") else source in compose["volumes"]


def test_the_health_check_asks_the_image_s_own_admin_port(
    last: dockerfile.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter, script = dockerfile.exec_form(last, "HEALTHCHECK")
    copied = [step.rest.split() for step in last.steps if step.keyword == "COPY"]
    assert ["docker/health.py", script] in copied
    assert interpreter == "/opt/edgecache/bin/python"
    for name, value in dockerfile.environment(last).items():
        if name.startswith("EDGECACHE_"):
            monkeypatch.setenv(name, value)
    asked = runpy.run_path(str(ROOT / "docker" / "health.py"))["connection"]()
    assert (asked.host, asked.port) == ("127.0.0.1", 8081)


def test_names_that_are_not_settings_are_known() -> None:
    assert "EDGECACHE_MODELS" in NOT_SETTINGS
