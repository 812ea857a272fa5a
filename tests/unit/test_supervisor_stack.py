"""What `nexkey up` decides before it starts anything: ports, keys, folders, and what each child gets to know."""

from __future__ import annotations

import base64
import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from py_service import _core_rs
from py_service.errors import SettingsError
from py_service.settings import Secret, Settings, read_settings
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.environment import API_FIELDS, settings_environment
from py_service.supervise.serve import gateway_configuration, refuse_debug_core, run_api, run_gateway, run_worker
from py_service.supervise.stack import plan_stack, service_specs, simulator_spec

KEY = Secret(bytes(range(32)))
WITHOUT: dict[str, Callable[[Settings], Settings]] = {
    "mongo_url": lambda settings: replace(settings, mongo_url=None),
    "redis_url": lambda settings: replace(settings, redis_url=None),
    "master_key": lambda settings: replace(settings, master_key=None),
}
URLS = Settings(mongo_url="mongodb://m:1/", redis_url="redis://r:2/0", master_key=KEY, api_port=0, gateway_port=0)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    opened = DataFolder.open(tmp_path / "data")
    yield opened
    opened.close()


def test_the_master_key_goes_to_the_api_alone() -> None:
    api, gateway, worker = service_specs(URLS)
    text = base64.b64encode(KEY.reveal()).decode()
    assert api.environment["NEXKEY_MASTER_KEY"] == text
    for other in (gateway, worker, simulator_spec("locks", "fleet")):
        assert text not in json.dumps(dict(other.environment))
    assert not any("MONGO" in name for name in gateway.environment)
    assert not any(name.startswith("NEXKEY_") for name in simulator_spec("locks", "fleet").environment)


def test_a_child_environment_does_not_show_itself() -> None:
    assert base64.b64encode(KEY.reveal()).decode() not in repr(service_specs(URLS))


def test_the_environment_is_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for children")
    monkeypatch.setenv("NEXKEY_MASTER_KEY", "not for children")
    for child in service_specs(replace(URLS, master_key=None)):
        assert "not for children" not in child.environment.values()


def test_settings_survive_the_way_through_an_environment() -> None:
    settings = replace(URLS, fence=False, data_folder=Path("/somewhere"), api_workers=3)
    environment = settings_environment(settings, API_FIELDS)
    read = read_settings({name: value for name, value in environment.items() if name.startswith("NEXKEY_")})
    assert replace(read, master_key=None) == replace(settings, master_key=None)
    assert read.master_key is not None
    assert read.master_key.reveal() == KEY.reveal()


def test_every_child_can_read_its_own_environment() -> None:
    for child in service_specs(URLS):
        read_settings(child.environment)


@pytest.mark.parametrize(("field", "name"), [("api_port", "NEXKEY_API_PORT"), ("gateway_port", "NEXKEY_GATEWAY_PORT")])
def test_a_taken_port_is_named(folder: DataFolder, field: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^{name}: port {port} on 127.0.0.1 is taken"):
            plan_stack(replace(URLS, **{field: port}), folder)


def test_a_port_that_is_shared_by_a_forgotten_server_counts_as_taken(folder: DataFolder) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as holder, pytest.raises(SettingsError, match="is taken"):
        plan_stack(replace(URLS, api_port=holder.getsockname()[1]), folder)


def test_port_0_gives_four_different_free_ports(folder: DataFolder) -> None:
    stack = plan_stack(Settings(api_port=0, gateway_port=0), folder)
    commands = [spec.command for spec in stack.stores]
    ports = [command[command.index("--port") + 1] for command in commands]
    assert [spec.name for spec in stack.stores] == ["mongo", "redis"]
    assert len({*ports, str(stack.settings.api_port), str(stack.settings.gateway_port)}) == 4
    assert ports[0] in str(stack.settings.mongo_url)
    assert ports[1] in str(stack.settings.redis_url)


def test_the_embedded_stores_are_started_as_the_design_says(folder: DataFolder) -> None:
    mongo, redis = (spec.command for spec in plan_stack(Settings(api_port=0, gateway_port=0), folder).stores)
    assert "--sync-on-commit" in mongo
    assert "--standalone" not in mongo
    assert mongo[mongo.index("--log-file-max") + 1] == "64MB"
    assert mongo[mongo.index("--storage-path") + 1] == str(folder.path / "mongo")
    assert redis[redis.index("--save") + 1] == ""
    assert redis[redis.index("--appendonly") + 1] == "no"


def test_no_store_is_started_for_an_url_that_is_set(folder: DataFolder) -> None:
    assert plan_stack(URLS, folder).stores == ()
    (mongo,) = plan_stack(replace(URLS, mongo_url=None), folder).stores
    assert mongo.name == "mongo"


@pytest.mark.parametrize("missing", sorted(WITHOUT))
def test_production_makes_nothing_up(folder: DataFolder, missing: str) -> None:
    production = replace(URLS, environment="production")
    plan_stack(production, folder)
    with pytest.raises(SettingsError, match=f"^NEXKEY_{missing.upper()}: is needed here"):
        plan_stack(WITHOUT[missing](production), folder)
    assert not (folder.path / "master.key").exists()


def test_the_master_key_is_made_once_and_readable_by_its_owner_alone(folder: DataFolder) -> None:
    first, second = folder.master_key(), folder.master_key()
    assert first.reveal() == second.reveal()
    assert len(first.reveal()) == 32
    assert (folder.path / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_master_key_that_others_may_read_is_refused(folder: DataFolder) -> None:
    folder.master_key()
    (folder.path / "master.key").chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        folder.master_key()


def test_a_damaged_master_key_is_refused_and_not_replaced(folder: DataFolder) -> None:
    folder.master_key()
    (folder.path / "master.key").write_text("c2hvcnQ=")
    with pytest.raises(SettingsError, match=r"^NEXKEY_MASTER_KEY"):
        folder.master_key()
    assert (folder.path / "master.key").read_text() == "c2hvcnQ="


def test_one_folder_serves_one_up(folder: DataFolder) -> None:
    with pytest.raises(SettingsError, match="in use by another"):
        DataFolder.open(folder.path)
    folder.close()
    DataFolder.open(folder.path).close()


def test_a_missing_store_program_is_named(folder: DataFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^NEXKEY_MONGO_URL: is not set, and secantusd-rs is not installed"):
        plan_stack(replace(URLS, mongo_url=None), folder)


@pytest.mark.parametrize(("missing", "name"), [("mongo_url", "MONGO_URL"), ("redis_url", "REDIS_URL"), ("master_key", "MASTER_KEY")])
def test_the_api_names_what_it_lacks(missing: str, name: str) -> None:
    with pytest.raises(SettingsError, match=f"^NEXKEY_{name}: is needed here"):
        run_api(WITHOUT[missing](URLS))


def test_a_debug_build_of_the_core_is_refused_in_production_and_said_in_development(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_core_rs, "__build_profile__", "debug")
    with pytest.raises(SettingsError, match=r"^NEXKEY_ENVIRONMENT: production refuses a debug build"):
        refuse_debug_core(replace(URLS, environment="production"))
    refuse_debug_core(URLS)
    assert "debug build" in capsys.readouterr().err
    monkeypatch.setattr(_core_rs, "__build_profile__", "release")
    refuse_debug_core(replace(URLS, environment="production"))
    assert capsys.readouterr().err == ""


async def never(settings: Settings) -> None:
    raise AssertionError("it started")


@pytest.mark.parametrize("run", [run_api, run_gateway, lambda settings: run_worker(settings, never)], ids=["api", "gateway", "worker"])
def test_no_process_starts_with_a_debug_build_in_production(run: Callable[[Settings], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core_rs, "__build_profile__", "debug")
    with pytest.raises(SettingsError, match=r"^NEXKEY_ENVIRONMENT: production refuses a debug build"):
        run(replace(URLS, environment="production"))


@pytest.mark.parametrize(("missing", "name"), [("mongo_url", "MONGO_URL"), ("redis_url", "REDIS_URL")])
def test_the_worker_names_what_it_lacks(missing: str, name: str) -> None:
    with pytest.raises(SettingsError, match=f"^NEXKEY_{name}: is needed here"):
        run_worker(WITHOUT[missing](URLS), never)


def test_the_worker_works_on_what_it_was_given() -> None:
    worked: list[Settings] = []

    async def work(settings: Settings) -> None:
        worked.append(settings)

    run_worker(URLS, work)
    assert worked == [URLS]


def test_the_gateway_is_configured_as_the_protocol_says() -> None:
    configuration = json.loads(gateway_configuration(replace(URLS, api_port=8080, gateway_port=8081), "gateway-1"))
    assert set(configuration) == {
        *("host", "port", "redis_url", "jwks_url", "gateway_id", "threads", "connections_max", "drain_seconds", "ready_fd"),
    }
    assert configuration["jwks_url"] == "http://127.0.0.1:8080/.well-known/jwks.json"
    with pytest.raises(SettingsError, match=r"^NEXKEY_REDIS_URL"):
        gateway_configuration(replace(URLS, redis_url=None), "gateway-1")
