"""Proxies and certificate authorities, as the environment and the settings name them."""

import base64
import ssl
import threading
from pathlib import Path

import pytest
from asking import call, opened, read, target
from connect_proxy import ConnectProxy

from edgecache.errors import InvalidSettings, UpstreamUnreachable
from edgecache.testing.scripted_upstream import ScriptedUpstream, make_tls
from edgecache.upstream import UpstreamPool
from edgecache.upstream.environment import Proxy, proxy_for

BASIC = "Proxy-Authorization: Basic " + base64.b64encode(b"user:p@ss").decode()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    context, ca = make_tls(tmp_path)
    return context, str(ca)


async def test_an_unknown_authority_is_not_trusted(tls: tuple[ssl.SSLContext, str]) -> None:
    async with ScriptedUpstream(tls=tls[0]) as upstream, opened(target(upstream.url)) as pool:
        with pytest.raises(UpstreamUnreachable, match=r"^upstream one: its certificate is not trusted: .*issuer"):
            await pool.send(call())
        assert upstream.requests == []


async def test_a_name_that_is_not_in_the_certificate_is_not_trusted(tmp_path: Path) -> None:
    context, ca = make_tls(tmp_path, "elsewhere.example")
    async with ScriptedUpstream(tls=context) as upstream, opened(target(upstream.url, ca_file=str(ca))) as pool:
        with pytest.raises(UpstreamUnreachable, match=r"its certificate is not trusted: .*mismatch"):
            await pool.send(call())


async def test_a_ca_file_is_trusted(tls: tuple[ssl.SSLContext, str]) -> None:
    async with ScriptedUpstream(tls=tls[0]) as upstream:
        for url in (upstream.url, upstream.url.replace("https:", "HTTPS:")):
            async with opened(target(url, ca_file=tls[1])) as pool:
                assert (await _status(pool)) == 400
                assert (await _status(pool)) == 400
        assert upstream.accepted == 2


async def test_ssl_cert_file_is_trusted(tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", tls[1])
    async with ScriptedUpstream(tls=tls[0]) as upstream, opened(target(upstream.url)) as pool:
        assert (await _status(pool)) == 400


async def test_certificates_are_read_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    make = ssl.create_default_context

    def noting() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return make()

    monkeypatch.setattr(ssl, "create_default_context", noting)
    async with opened(target("https://h.example"), target("http://h.example", "two")):
        assert len(threads) == 1 and threads[0] is not threading.current_thread()


async def test_http_where_tls_is_expected_says_so() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url.replace("http:", "https:"))) as pool:
        with pytest.raises(UpstreamUnreachable, match=r"cannot connect to 127.0.0.1:\d+: TLS: "):
            await pool.send(call())


async def test_all_unusable_ca_files_are_reported(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    files = ("a", str(empty)), ("b", str(tmp_path / "absent.pem"))
    pool = UpstreamPool([target("https://h.example", name, ca_file=file) for name, file in files])
    with pytest.raises(InvalidSettings) as caught:
        await pool.open()
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["upstream a", "upstream b"]


async def test_https_goes_through_the_proxy_as_a_tunnel(
    tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ConnectProxy() as proxy, ScriptedUpstream(tls=tls[0]) as upstream:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@{proxy.address}")
        async with opened(target(upstream.url, ca_file=tls[1])) as pool:
            reply = await pool.send(call(headers=[("Authorization", "Bearer caller")]))
            await read(reply)
    assert proxy.heads[0].startswith(f"CONNECT {upstream.url.removeprefix('https://')} HTTP/1.1\r\n")
    assert BASIC in proxy.heads[0]
    assert "caller" not in proxy.heads[0]
    assert upstream.requests[0].header("Authorization") == "Bearer caller"
    assert upstream.requests[0].header("Proxy-Authorization") is None


async def test_http_goes_through_the_proxy_in_absolute_form(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConnectProxy() as proxy:
        monkeypatch.setenv("http_proxy", f"user:p%40ss@{proxy.address}")
        async with opened(target("http://h.example:81/base")) as pool:
            for _ in range(2):
                assert await read(await pool.send(call(path="/v1/x%2F", query="q=%20", method="GET", body=b""))) == (
                    b"by proxy!"
                )
    assert all(head.startswith("GET http://h.example:81/base/v1/x%2F?q=%20 HTTP/1.1\r\n") for head in proxy.heads)
    assert all(BASIC in head and "Host: h.example:81" in head for head in proxy.heads)


async def test_no_proxy_goes_around_it(tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConnectProxy() as proxy, ScriptedUpstream(tls=tls[0]) as upstream:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("NO_PROXY", "h.example,127.0.0.1")
        async with opened(target(upstream.url, ca_file=tls[1])) as pool:
            assert (await _status(pool)) == 400
        assert proxy.heads == []


async def test_a_proxy_that_refuses_or_is_absent_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConnectProxy(refuse=True) as proxy:
        address = proxy.address
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@{proxy.address}")
        async with opened(target("https://h.example")) as pool:
            with pytest.raises(UpstreamUnreachable, match=r"^upstream one: the proxy refused to connect: status 407"):
                await pool.send(call())
    async with opened(target("https://h.example")) as pool:
        with pytest.raises(UpstreamUnreachable, match=rf"cannot connect to the proxy {address}: ") as caught:
            await pool.send(call())
        assert pool.statistics().targets[0].cooling
    assert "p@ss" not in str(caught.value) and "p%40ss" not in str(caught.value)


@pytest.mark.parametrize(
    "base, environment, expected",
    [
        ("https://h.example", {}, None),
        ("https://h.example", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://h.example", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://h.example", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://h.example", {"ALL_PROXY": "https://p:1"}, "https://p:1"),
        ("https://h.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://h.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, None),
        ("https://h.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "h.example:443"}, None),
        ("https://h.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "h.example:444"}, "http://p:1"),
        ("http://h.example:81", {"http_proxy": "http://p:1", "NO_PROXY": "h.example:81"}, None),
    ],
)
def test_which_proxy(
    base: str, environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(target(base)) == (Proxy(expected) if expected else None)


async def test_a_proxy_of_another_kind_is_a_mistake_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@p:1")
    with pytest.raises(InvalidSettings, match=r"upstream one: .*proxy") as caught:
        await UpstreamPool([target("https://h.example")]).open()
    assert "secret" not in str(caught.value)


async def test_a_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        await _status(pool)
    assert upstream.requests[0].header("Authorization") is None


async def _status(pool: UpstreamPool) -> int:
    reply = await pool.send(call(b"no JSON"))
    await read(reply)
    return reply.status
