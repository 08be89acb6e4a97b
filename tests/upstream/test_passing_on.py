"""What came is what the provider gets, and what the provider sends is what the caller gets. RFC 9110 section 7.6.1."""

import gzip

import pytest
from asking import CHAT, call, opened, read, stream, target
from hypothesis import given
from hypothesis import strategies as st

from edgecache.errors import BadRequest, MethodNotAllowed
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import Answer, ScriptedUpstream
from edgecache.upstream.headers import incoming


async def test_method_path_query_and_body_arrive_byte_by_byte() -> None:
    body = b'{"model": "m", "x": 1.50, "x": 2, "\\u00e9": "\xc3\xa9"}\n '
    query = "a=%2F%2f&b=+%20&&c=;%zz&d=%E9?x/"
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(call(body, path="/v1/x%2Fy//../z;p", query=query, method="PUT")))
    got = upstream.requests[0]
    assert (got.method, got.path, got.query, got.body) == ("PUT", "/v1/x%2Fy//../z;p", query, body)
    assert got.header("Content-Length") == str(len(body))


async def test_header_fields_keep_case_order_and_repetition_and_none_is_added() -> None:
    sent = [("x-B", "2"), ("X-a", "1"), ("Cookie", "k=v"), ("x-B", "é"), ("X-A", "3"), ("Authorization", "Bearer sk-1")]
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(call(headers=sent)))
    host, *got = upstream.requests[0].headers
    assert host == ("Host", upstream.url.removeprefix("http://"))
    utf8 = [(name, value.encode("latin-1").decode()) for name, value in got]
    expected = [(name if name != "X-A" else "X-a", value) for name, value in sent]
    assert utf8 == [*expected, ("Content-Length", "2")]


async def test_a_get_has_no_body_and_no_length() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call(b"", method="GET", path="/v1/models", headers=[("Accept-Encoding", "br")]))
        assert (reply.status, reply.upstream) == (200, "one")
        await read(reply)
    assert [name for name, _ in upstream.requests[0].headers] == ["Host", "Accept-Encoding"]


async def test_hop_by_hop_fields_of_a_request_end_here() -> None:
    hop = {"Connection": "close, X-Mine", "X-Mine": "1", "Keep-Alive": "1", "Proxy-Authorization": "Basic x"}
    hop |= {"TE": "trailers", "Trailer": "X", "Upgrade": "h2c", "Proxy-Connection": "x", "Expect": "100-continue"}
    hop |= {"Transfer-Encoding": "chunked", "Host": "elsewhere.example"}
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(call(headers=[*hop.items(), ("X-Kept", "1")])))
    got = [name for name, _ in upstream.requests[0].headers]
    assert got == ["Host", "X-Kept", "Content-Length"]
    assert upstream.requests[0].header("Host") != "elsewhere.example"


async def test_hop_by_hop_fields_of_an_answer_end_here_and_the_others_come_as_they_are() -> None:
    answer = (
        b"HTTP/1.1 299 Odd\r\nx-Request-ID: 1\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Latin: \xe9\r\nX-Utf: \xc3\xa9\r\n"
        b"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    )
    async with RawUpstream(answer) as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call())
        assert (reply.status, await read(reply)) == (299, b"abc")
    kept = [("x-Request-ID", "1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-Latin", "é"), ("X-Utf", "é")]
    assert list(reply.headers) == kept


@given(st.lists(st.tuples(st.sampled_from(["X-A", "x-b", "Connection", "TE", "Proxy-X"]), st.sampled_from("ab"))))
def test_no_hop_by_hop_field_ever_comes_back(fields: list[tuple[str, str]]) -> None:
    raw = [(name.encode(), ("x-" + value).encode()) for name, value in fields]
    named = {"x-" + value for name, value in fields if name == "Connection"}
    names = {name.lower() for name, _ in incoming(raw)}
    assert names == {name.lower() for name, _ in fields if name.lower() in {"x-a", "x-b"} - named}


async def test_an_encoded_body_comes_back_as_the_bytes_that_were_sent() -> None:
    body = gzip.compress(b"hello " * 1_000)
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(Answer(headers=[("Content-Encoding", "gzip")], body=body))
        reply = await pool.send(call())
        assert await read(reply) == body
    assert ("Content-Encoding", "gzip") in reply.headers
    assert ("Content-Length", str(len(body))) in reply.headers


async def test_an_encoded_request_body_is_not_touched() -> None:
    body = gzip.compress(b"{}")
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(call(body, headers=[("Content-Encoding", "gzip")])))
    assert upstream.requests[0].body == body


async def test_a_body_over_a_mebibyte_arrives_whole() -> None:
    body = bytes(range(256)) * 12_000
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(Answer(chunks=[body, body]))
        assert await read(await pool.send(call(body))) == body + body
    assert upstream.requests[0].body == body
    assert upstream.requests[0].header("Content-Length") == str(len(body))


@pytest.mark.parametrize("length", ["6", None])
async def test_a_streamed_body_keeps_its_length_or_goes_chunked(length: str | None) -> None:
    headers = [("Content-Length", length)] if length else []
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        await read(await pool.send(call(stream(b"abc", b"def"), headers=headers)))
    got = upstream.requests[0]
    assert got.body == b"abcdef"
    assert got.header("Content-Length") == length
    assert got.header("Transfer-Encoding") == (None if length else "chunked")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_end_at_once_and_keep_the_connection(status: int) -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        upstream.enqueue(Answer(status=status, headers=[("ETag", "x")]), Answer())
        for expected in (status, 200):
            reply = await pool.send(call())
            assert (reply.status, await read(reply)) == (expected, b"")
        assert upstream.accepted == 1


async def test_a_head_answer_has_a_length_and_no_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    async with RawUpstream(answer) as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call(b"", method="HEAD"))
        assert (reply.headers, await read(reply)) == ((("Content-Length", "10"),), b"")


async def test_interim_answers_are_passed_over() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with RawUpstream(answer) as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call())
        assert (reply.status, reply.headers, await read(reply)) == (200, (("Content-Length", "2"),), b"ok")


async def test_cookies_of_one_caller_are_not_sent_for_the_next() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url.replace("127.0.0.1", "localhost"))) as pool:
        upstream.enqueue(Answer(headers=[("Set-Cookie", "session=secret; Path=/")]))
        reply = await pool.send(call())
        assert ("Set-Cookie", "session=secret; Path=/") in reply.headers
        await read(reply)
        await read(await pool.send(call()))
    assert upstream.requests[1].header("Cookie") is None


async def test_redirects_and_errors_come_back_as_they_came() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        for status in (302, 307, 400, 401, 429, 500, 503):
            upstream.enqueue(Answer(status=status, headers=[("Location", "/else"), ("Retry-After", "9")], body=b"why"))
            reply = await pool.send(call())
            assert (reply.status, await read(reply)) == (status, b"why")
            assert ("Retry-After", "9") in reply.headers
        assert len(upstream.requests) == 7


@pytest.mark.parametrize(
    "style, name", [("bearer", "Authorization"), ("x-api-key", "x-api-key"), ("api-key", "api-key")]
)
async def test_a_key_of_the_target_replaces_all_of_the_callers(style: str, name: str) -> None:
    sent = [("authorization", "Bearer caller"), ("X-API-Key", "caller"), ("Api-Key", "caller"), ("X-Other", "1")]
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, api_key="own", key_style=style)) as pool:
        await read(await pool.send(call(headers=sent)))
    value = "Bearer own" if style == "bearer" else "own"
    assert upstream.requests[0].headers[1:-1] == (("X-Other", "1"), (name, value))


@pytest.mark.parametrize(
    "base, path, expected",
    [
        ("", CHAT, CHAT),
        ("/", CHAT, CHAT),
        ("/v1", CHAT, CHAT),
        ("/v1/", "/v1", "/v1"),
        ("/v1", "/v10/x", "/v1/v10/x"),
        ("/azure%2Fx/v1", CHAT, "/azure%2Fx/v1/chat/completions"),
        ("/prefix", CHAT, "/prefix" + CHAT),
        ("/v1", "/other", "/v1/other"),
    ],
)
async def test_the_path_is_appended_to_the_base(base: str, path: str, expected: str) -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url + base)) as pool:
        await read(await pool.send(call(path=path)))
    assert upstream.requests[0].path == expected


@pytest.mark.parametrize(
    "bad",
    [
        call(path="/v1 HTTP/1.1\r\nX: y"),
        call(query="a b"),
        call(path="*", method="OPTIONS"),
        call(path="h.example:443"),
        call(query="\udce9"),
        call(headers=[("X-A", "1\r\nX-B: 2")]),
        call(headers=[("X-A", "\udce9")]),
        call(headers=[("X\r\nA", "1")]),
    ],
)
async def test_what_would_smuggle_a_second_line_is_refused(bad: object) -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url)) as pool:
        with pytest.raises(BadRequest):
            await pool.send(bad)  # type: ignore[arg-type]
        assert upstream.accepted == 0


async def test_the_configured_key_is_used_only_where_the_call_says_so() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, api_key="own")) as pool:
        given = [("Authorization", "Bearer caller")]
        await read(await pool.send(call(headers=given, configured_key=False)))
        await read(await pool.send(call(headers=given, configured_key=True)))
    assert [one.header("authorization") for one in upstream.requests] == ["Bearer caller", "Bearer own"]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "trace"])
async def test_trace_and_connect_are_never_sent(method: str) -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, api_key="sk-own")) as pool:
        with pytest.raises(MethodNotAllowed):
            await pool.send(call(method=method))
    assert upstream.requests == []


@pytest.mark.parametrize("control", [b"\x01", b"\x0b", b"\x7f"])
async def test_a_field_that_cannot_be_sent_on_is_left_out(control: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Odd: a%sb\r\nX-Fine: a\tb\r\nContent-Length: 2\r\n\r\nok" % control
    async with RawUpstream(head) as upstream, opened(target(upstream.url)) as pool:
        reply = await pool.send(call())
        names = [name for name, _ in reply.headers]
        assert ("X-Fine" in names, "X-Odd" in names) == (True, False)
        assert await read(reply) == b"ok"
