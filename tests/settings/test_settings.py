"""Settings: everything wrong at once, each with its key; the environment over the file; nothing secret is shown."""

from pathlib import Path

import pytest

from edgecache.errors import InvalidSettings
from edgecache.parts import target_of
from edgecache.settings import Settings, StoreSettings, UpstreamSettings, address, is_loopback, load


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edgecache.toml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str = "", **environment: str) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load(write(tmp_path, text), environment)
    return caught.value.problems


def test_without_anything_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == Settings()


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """
    nod = "x"
    drain = "soon"
    secret = "short"
    policies = "nowhere"
    [listen]
    traffic = "8080"
    admin = "127.0.0.1:99999"
    tls_certificate = "none.pem"
    [local]
    rows = 0
    [limits]
    body = "much"
    [[upstream]]
    name = "a"
    url = "ftp://x"
    ca_file = "none.pem"
    [[upstream]]
    name = "a"
    url = "http://[::1"
    [[upstream]]
    url = "https://x"
    """
    found = "\n".join(problems(tmp_path, text, EDGECACHE_WHAT="x"))
    for told in (
        "nod: unknown key, did you mean `node`?",
        "drain: Expected a duration",
        "secret: at least 16",
        "policies: there is no folder 'nowhere'",
        "listen.traffic: expected host:port",
        "listen.admin: Port out of range",
        "listen: tls_certificate and tls_key are given together",
        "listen.tls_certificate: there is no file none.pem",
        "local.rows: ",
        "limits.body: Expected a size",
        "upstream: `a` stands twice",
        "upstream `a`.url: expected http(s)://host, got 'ftp://x'",
        "upstream `a`.url: expected http(s)://host, got 'http://[::1'",
        "upstream `a`.ca_file: there is no file none.pem",
        "upstream[3].name: required",
        "EDGECACHE_WHAT: no setting has this variable",
    ):
        assert told in found, told


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    text = 'node = "file"\n[listen]\ntraffic = "127.0.0.1:1"\nadmin = "127.0.0.1:2"\n[local]\nrows = 3\n'
    environment = {"EDGECACHE_NODE": "env", "EDGECACHE_LISTEN_TRAFFIC": "127.0.0.1:7", "EDGECACHE_LOCAL_ROWS": "5"}
    found = load(write(tmp_path, text), {**environment, "EDGECACHE_LIMITS_MEMORY": "1GiB", "EDGECACHE_DRAIN": "2m"})
    assert (found.node, found.listen.traffic, found.listen.admin, found.local.rows) == (
        "env",
        "127.0.0.1:7",
        "127.0.0.1:2",
        5,
    )
    assert (found.limits.memory, found.drain) == (1 << 30, 120)


def test_variables_that_are_not_settings_are_known_or_told(tmp_path: Path) -> None:
    kubernetes = {
        "EDGECACHE_SERVICE_HOST": "10.0.0.1",
        "EDGECACHE_SERVICE_PORT_HTTP": "8080",
        "EDGECACHE_PORT": "tcp://10.0.0.1:8080",
        "EDGECACHE_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    load(write(tmp_path, ""), {**kubernetes, "EDGECACHE_TOKEN": "t", "EDGECACHE_MODELS": "m", "PATH": "p"})
    for name in ("EDGECACHE_UPSTREAMS", "EDGECACHE_UPSTREAM_NAME", "EDGECACHE_LISTEN"):
        assert problems(tmp_path, **{name: "x"})[0].startswith(f"{name}: no setting has this variable")


@pytest.mark.parametrize("value", ["²", "-1", "1.5", "", "x"])
def test_numbers_that_are_none(tmp_path: Path, value: str) -> None:
    assert problems(tmp_path, EDGECACHE_LOCAL_ROWS=value)[0].startswith("local.rows: ")


def test_a_section_that_is_no_table_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, "listen = 5", EDGECACHE_LISTEN_ADMIN="127.0.0.1:1")[0].startswith(
        "listen: expected a table"
    )


def test_one_provider_in_one_line(tmp_path: Path) -> None:
    wanted = UpstreamSettings(name="upstream", url="https://a", key="k")
    file = write(tmp_path, 'upstream = "https://a"')
    assert load(file, {"EDGECACHE_UPSTREAM_KEY": "k"}).upstream == (wanted,)
    environment = {"EDGECACHE_UPSTREAM": "https://a", "EDGECACHE_UPSTREAM_KEY": "k"}
    assert load(write(tmp_path, ""), environment).upstream == (wanted,)
    assert load(file, {"EDGECACHE_UPSTREAM": ""}).upstream == ()
    assert "goes with EDGECACHE_UPSTREAM" in problems(tmp_path, EDGECACHE_UPSTREAM_KEY="k")[0]
    assert problems(tmp_path, "upstream = 5") == ["upstream: write [[upstream]], or one URL"]


@pytest.mark.parametrize("content", [b"listen =", b"\xff", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edgecache.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"edgecache\.toml"):
        load(path, {})


def test_a_file_that_is_named_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="No such file"):
        load(tmp_path / "none.toml", {})


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    text = """
    secret = "hidden hidden hidden"
    [store]
    url = "redis://user:hidden@cache:6379/0"
    [[upstream]]
    name = "a"
    url = "https://user:hidden@host/v1"
    key = "hidden"
    """
    found = load(write(tmp_path, text), {})
    shown = f"{found!r} {found} {found.upstream!r} {found.store!r}"
    assert "hidden" not in shown
    assert "cache:6379" in shown
    assert "a https://...@host/v1 with a key" in shown
    assert "hidden" not in "\n".join(problems(tmp_path, 'upstream = "gopher://user:hidden@host"'))


def test_addresses() -> None:
    assert address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert address("[::1]:80") == ("::1", 80)
    for wrong in ("", ":80", "host", "host:", "host:x", "[::1:80"):
        with pytest.raises(ValueError):
            address(wrong)
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "example.com")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://u:SECRET@h:1/0", "redis://...@h:1/0"),
        ("redis://:SE@CRET@h:1/0", "redis://...@h:1/0"),
        ("redis://:SE/CRET@h:1/0", "redis://...@h:1/0"),
        ("redis://:SE?CRET@h:1/0", "redis://..."),
        ("redis://:SE#CRET@h:1/0", "redis://..."),
        ("redis://h:1/0?password=SECRET", "redis://h:1/0"),
        ("redis+sentinel://u:SECRET@a:1,b:2/svc/0?sentinel_password=SECRET", "redis+sentinel://...@a:1,b:2/svc/0"),
        ("redis+sentinel://a:1/svc?sentinel_password=SE@CRET", "redis+sentinel://..."),
        ("h:1/0?password=SECRET", "h:1/0"),
    ],
)
def test_no_password_of_a_store_is_shown(url: str, shown: str) -> None:
    said = repr(StoreSettings(url=url))
    assert said == f"<StoreSettings {shown} edgecache>"
    assert "CRET" not in said + repr(Settings(store=StoreSettings(url=url)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"url": "http://user:secret@host"}, "credentials"),
        ({"url": "http://host?x=1"}, "base_url must look like"),
        ({"key": "sk-x\n"}, "printable ASCII"),
        ({"name": ""}, "name"),
    ],
)
def test_an_upstream_that_cannot_be_one_is_told_in_a_line(wrong: dict[str, str], says: str) -> None:
    """By `serve` as by `doctor`, and no secret is in it."""
    upstream = UpstreamSettings(**{"name": "a", "url": "http://host", **wrong})
    with pytest.raises(InvalidSettings, match=says) as caught:
        target_of(upstream)
    assert "secret" not in str(caught.value)
    assert "sk-x" not in str(caught.value)
