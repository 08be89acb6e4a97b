"""What a target may be, and that no credential is ever shown."""

import asyncio
import io
import logging
import traceback
from pathlib import Path

import msgspec
import pytest
from asking import SOON, call, opened, read, target, timers
from rich.console import Console

from edgecache.errors import EdgecacheError, InvalidSettings
from edgecache.parts import target_of
from edgecache.settings import load
from edgecache.testing.raw_upstream import RawUpstream
from edgecache.testing.scripted_upstream import ScriptedUpstream, Step
from edgecache.upstream import Target, Timers
from edgecache.upstream.environment import Proxy

OWN, CALLERS, PROXYS = "sk-own-5e4d", "sk-callers-7a1b", "proxys-9c2f"
SENT = [("Authorization", f"Bearer {CALLERS}"), ("X-Api-Key", CALLERS)]


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"base_url": "ftp://h"}, "base_url must look like"),
        ({"base_url": "h.example"}, "base_url must look like"),
        ({"base_url": "https://"}, "base_url must look like"),
        ({"base_url": "https://h/?key=x"}, "base_url must look like"),
        ({"base_url": "https://h/#x"}, "base_url must look like"),
        ({"base_url": "https://h:port"}, "base_url is not a URL"),
        ({"base_url": "https://[::1"}, "base_url is not a URL"),
        ({"base_url": "https://h/a b"}, "blanks"),
        ({"base_url": f"https://user:{OWN}@h"}, "base_url must not hold credentials"),
        ({"api_key": f"{OWN}\n"}, "api_key must be printable ASCII"),
        ({"api_key": f"{OWN}é"}, "api_key must be printable ASCII"),
        ({"weight": 0.0}, "weight"),
        ({"connections": -1}, "connections"),
        ({"keepalive": 0.0}, "keepalive"),
        ({"cooldown": 0.0, "health_interval": 0.0}, "cooldown, health_interval must be more than 0"),
        ({"concurrency": -1}, "concurrency"),
        ({"wait": -1.0}, "wait"),
        ({"health": "health"}, "health must be a path"),
        ({"name": ""}, "needs a name"),
        ({"timers": {"connect": 0.0}}, "timer connect must be more than 0"),
        ({"key_style": "basic"}, "Invalid enum value"),
        ({"api-key": OWN}, "unknown field"),
    ],
)
def test_a_target_that_cannot_be_used_says_why(settings: dict[str, object], problem: str) -> None:
    given = {"name": "one", "base_url": "https://h.example"} | settings
    with pytest.raises(msgspec.ValidationError, match=problem) as caught:
        msgspec.convert(given, Target)
    assert OWN not in str(caught.value)


def test_a_target_of_two_lines_is_enough() -> None:
    plain = msgspec.convert({"name": "openai", "base_url": "https://api.openai.com"}, Target)
    assert plain == Target(name="openai", base_url="https://api.openai.com", timers=Timers())


SETTINGS = """
[[upstream]]
name = "azure"
url = "https://h.example"
key = "k"
key_style = "api-key"
order = 2
weight = 3
connect = "1s"
first_byte = "2s"
between_chunks = "3s"
total = "4s"
keepalive = "5s"
models = { "gpt-4o" = "my-deployment" }
speaks = ["openai.chat", "openai.embeddings"]
concurrency = 6
wait = "7s"
cooldown = "8s"
health = "/health"
health_interval = "9s"
realm = "us"
"""


def test_every_setting_reaches_the_target(tmp_path: Path) -> None:
    file = tmp_path / "edgecache.toml"
    file.write_text(SETTINGS)
    made = target_of(load(file, {}).upstream[0])
    assert made == Target(
        name="azure",
        base_url="https://h.example",
        api_key="k",
        key_style="api-key",
        order=2,
        weight=3,
        timers=Timers(connect=1, first_byte=2, between_chunks=3, total=4),
        keepalive=5,
        models={"gpt-4o": "my-deployment"},
        speaks=("openai.chat", "openai.embeddings"),
        concurrency=6,
        wait=7,
        cooldown=8,
        health="/health",
        health_interval=9,
        realm="us",
    )


def test_settings_that_cannot_be_are_told_with_their_names(tmp_path: Path) -> None:
    file = tmp_path / "edgecache.toml"
    wrong = '[[upstream]]\nname = "a"\nurl = "https://h"\nkeepalive = 0\ntotal = "0s"\nhealth = "up"\n'
    file.write_text(wrong)
    with pytest.raises(InvalidSettings) as caught:
        load(file, {})
    assert caught.value.problems == [
        "upstream `a`.total: must be more than 0",
        "upstream `a`.keepalive: must be more than 0",
        "upstream `a`.health: expected a path that begins with /, got 'up'",
    ]
    file.write_text('[[upstream]]\nname = "a"\nurl = "https://h"\nspeaks = ["openai"]\nconcurrency = -1\n')
    with pytest.raises(InvalidSettings, match=r"upstream\[1\]\.speaks: (.|\n)*upstream\[1\]\.concurrency: "):
        load(file, {})


def test_no_repr_shows_a_key() -> None:
    one = target("https://h.example", api_key=OWN)
    proxy = Proxy("http://p:1", (("Proxy-Authorization", PROXYS),))
    shown = io.StringIO()
    Console(file=shown).print(one, [one], {"one": one}, proxy)
    for text in (repr(one), str(one), f"{[one]}", shown.getvalue(), repr(proxy)):
        assert OWN not in text and PROXYS not in text
    assert repr(one) == "<Target one: https://h.example, its own key, order 0, weight 1>"


@pytest.mark.parametrize(
    "steps",
    [[Step.CUT], [b"garbage\r\n\r\n"], [asyncio.Event()], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"], [b""]],
    ids=["reset", "garbage", "hang", "cut-body", "closed"],
)
@pytest.mark.parametrize("scheme", ["http:", "https:"])
async def test_no_error_and_no_log_shows_a_credential(
    scheme: str,
    steps: list[bytes | Step | asyncio.Event],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawUpstream(*steps) as upstream:
        if scheme == "https:":
            monkeypatch.setenv("HTTPS_PROXY", upstream.url.replace("://", f"://user:{PROXYS}@"))
        limits = timers(connect=5 * SOON, first_byte=5 * SOON)
        own = target(upstream.url.replace("http:", scheme), api_key=OWN, timers=limits)
        callers = target(upstream.url.replace("http:", scheme), timers=limits)
        texts = [await _failing(one) for one in (own, callers)]
    texts += [caplog.text, *(str(record.__dict__) for record in caplog.records)]
    for text in texts:
        assert not any(secret in text for secret in (OWN, CALLERS, PROXYS)), text


async def _failing(one: Target) -> str:
    """All that a log of the error and of the objects at hand could show."""
    async with opened(one) as pool:
        request = call(headers=SENT)
        with pytest.raises(EdgecacheError) as caught:
            await read(await pool.send(request))
        error: BaseException | None = caught.value
        shown = [repr(pool), repr(pool.statistics()), *traceback.format_exception(caught.value)]
        while error is not None:
            shown += [str(error), repr(error), repr(error.args)]
            error = error.__cause__ or error.__context__
    return "\n".join(shown)


async def test_a_reply_does_not_show_a_credential() -> None:
    async with ScriptedUpstream() as upstream, opened(target(upstream.url, api_key=OWN)) as pool:
        reply = await pool.send(call(headers=SENT))
        assert OWN not in repr(reply) and CALLERS not in repr(reply)
        await read(reply)
