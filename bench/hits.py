"""The path of a request: hits against their limits, what a miss costs, how soon a node is back.

Every figure is a ratio or a difference within one run, the two sides in turn (A B A B ...); a figure is the median over
`repeats` rounds.
"""

import asyncio
import contextlib
import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench import local_model
from bench.figures import Figure, figure
from bench.node import CREDENTIAL, HEADERS, Node, ask, chat_body, get, load, node, process
from edgecache.account.callers import Callers
from edgecache.account.tokens import Tokens
from edgecache.core.canonical import identify
from edgecache.core.entry import Entry, Framing, Horizon, Source
from edgecache.embedding.onnx_embedder import OnnxEmbedder
from edgecache.models.progress import Silent
from edgecache.purge.orders import intrinsic
from edgecache.storage.sqlite import SqliteStorage
from edgecache.weights import cache_folder, embedding_folder
from edgecache.wire.chat.conversation import DIALECT
from edgecache.wire.chat.request import read_chat

EXACT = '[[route]]\nname = "bench"\nmode = "exact"\n'
SEMANTIC = '[[route]]\nname = "bench"\nmode = "semantic"\nthreshold = 0.955\n'
QUESTION = "What is the capital of France?"
PARAPHRASE = "What is France's capital?"
SECRET = "a secret for benchmarks only"
CONNECTIONS = 16
ROUND_S = 1.0
CALLS = 60


def measure(repeats: int) -> list[Figure]:
    """The figures of `python -m bench hits`."""
    steps: list[Callable[[int], list[Figure]]] = [_exact, _semantic, _miss, _restart]
    found = [one for step in steps for one in _say(step, repeats)]
    return found + [msgspec.convert(one, Figure) for one in local_model.measure(repeats)]


def _say(step: Callable[[int], list[Figure]], repeats: int) -> list[Figure]:
    print(f"bench hits: {step.__name__.strip('_')} ...", file=sys.stderr, flush=True)
    return step(repeats)


# --- exact hits against a bare handler ----------------------------------------------------------------------------


def _exact(repeats: int) -> list[Figure]:
    body = chat_body(QUESTION)
    with _provider(0) as url, node(EXACT, upstream=url) as ours:
        ask(ours.port, body)
        hit = ask(ours.port, body)
        if hit.getheader("X-Cache") != "HIT":
            raise RuntimeError(f"not a hit: {hit.getheaders()}")
        with _bare(hit.getheaders(), hit.body) as bare:
            pairs = [(_rate(bare, body), _rate(ours.port, body)) for _ in range(4 * repeats)]
    return [
        figure("exact_vs_bare", [hits / limit for limit, hits in pairs], "ratio", ">= 0.75"),
        figure("exact_per_second", [hits for _, hits in pairs], "1/s"),
        figure("bare_per_second", [limit for limit, _ in pairs], "1/s"),
    ]


def _rate(port: int, body: bytes) -> float:
    return float(load(port, body, connections=CONNECTIONS, seconds=ROUND_S)["per_second"])


@contextlib.contextmanager
def _provider(delay_ms: float) -> Iterator[str]:
    with process("bench.provider", str(delay_ms)) as child:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


@contextlib.contextmanager
def _bare(headers: Sequence[tuple[str, str]], body: bytes) -> Iterator[int]:
    kept = [pair for pair in headers if pair[0] not in ("Date", "Content-Length")]
    given = msgspec.json.encode({"headers": kept, "body": body.decode()})
    with process("bench.bare", given=given) as child:
        yield int(child.stdout.readline())


# --- semantic hits against an embedding pass ----------------------------------------------------------------------


def _semantic(repeats: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        asyncio.run(_fill(folder, _questions(10_000)))
        with node(SEMANTIC, folder=folder, environment={"EDGECACHE_SECRET": SECRET}) as ours:
            _wait_index(ours)
            hit = ask(ours.port, chat_body(PARAPHRASE))
            if "semantic" not in (hit.getheader("Cache-Status") or ""):
                raise RuntimeError(f"not a semantic hit: {hit.getheaders()}")
            pairs = asyncio.run(_semantic_rounds(ours, repeats))
    return [
        figure("semantic_vs_embed", [hit / embed for embed, hit in pairs], "ratio", "<= 1.6"),
        figure("semantic_hit_ms", [1_000 * hit for _, hit in pairs], "ms"),
        figure("embed_ms", [1_000 * embed for embed, _ in pairs], "ms"),
    ]


async def _semantic_rounds(ours: Node, repeats: int) -> list[tuple[float, float]]:
    """(one embedding pass, one semantic hit) in seconds, the medians of a round each. Pass and hit take turns one by
    one, so that both find the processor's caches as the other left them.
    """
    embedder = _embedder()
    await embedder.open()
    connection = http.client.HTTPConnection("127.0.0.1", ours.port)
    rounds = []
    for _ in range(max(repeats, 5)):
        turns = [(await _pass(embedder, PARAPHRASE), _hit(connection, PARAPHRASE)) for _ in range(CALLS)]
        rounds.append((statistics.median(e for e, _ in turns), statistics.median(h for _, h in turns)))
    connection.close()
    await embedder.close()
    return rounds


async def _pass(embedder: OnnxEmbedder, text: str) -> float:
    begun = time.perf_counter()
    await embedder.embed(text)
    return time.perf_counter() - begun


def _hit(connection: http.client.HTTPConnection, text: str) -> float:
    begun = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body=chat_body(text), headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    if answer.getheader("X-Cache") != "HIT":
        raise RuntimeError(f"not a hit: {answer.getheaders()}")
    return time.perf_counter() - begun


def _embedder() -> OnnxEmbedder:
    return OnnxEmbedder(lambda: embedding_folder(cache_folder(), Silent()))


def _wait_index(ours: Node) -> None:
    while msgspec.json.decode(get(ours.admin, "/readyz")[1])["index"]["state"] != "done":
        time.sleep(0.05)  # another process: there is nothing to wait on


def _questions(count: int) -> list[str]:
    """As many different ones as asked for, on everyday subjects."""
    verbs = ("clean", "repair", "choose", "store", "sell", "paint", "draw", "measure", "replace", "recycle")
    things = ("bicycle", "kettle", "guitar", "window", "carpet", "laptop", "garden chair", "camera", "tent", "lamp")
    places = ("at home", "in winter", "on a budget", "without tools", "for a friend", "in a small flat", "at work")
    made = [QUESTION]
    for number in range(count - 1):
        verb, thing = verbs[number % 10], things[number // 10 % 10]
        made.append(f"How do I {verb} a {thing} {places[number // 100 % 7]}, case {number}?")
    return made


async def _fill(folder: Path, questions: Sequence[str]) -> None:
    """Entries as a node would have stored them, without asking anyone."""
    storage, embedder = SqliteStorage(folder / "edgecache.db"), _embedder()
    await storage.open()
    await embedder.open()
    tokens = Tokens(storage.registry, clock=time.time, random=str)
    callers = Callers(tokens, secret=SECRET.encode(), anonymous=None)
    for at in range(0, len(questions), 500):
        entries = await asyncio.gather(*[_entry(storage, embedder, callers, text) for text in questions[at : at + 500]])
        await asyncio.gather(*map(storage.store.put, entries))
    await embedder.close()
    await storage.close()


async def _entry(storage: SqliteStorage, embedder: OnnxEmbedder, callers: Callers, text: str) -> Entry:
    scope = callers.identify(CREDENTIAL).scope
    question = read_chat(chat_body(text)).question
    identity = identify(question, scope, {}, "", path="/v1", rules=(), secret=SECRET.encode())
    message = {"role": "assistant", "content": "Paris." * 40}
    answer = {"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    return Entry(
        key=identity.key,
        scope=scope,
        partition=identity.partition,
        question=identity.text,
        vector=await embedder.embed(identity.text),
        embedder=embedder.identity,
        tags=intrinsic(scope=scope, route="bench", model="bench", path="/v1/chat/completions"),
        horizon=Horizon(storage.log.identity, 0),
        stored_at=time.time(),
        ttl=3_600.0,
        source=Source.UPSTREAM,
        route="bench",
        model="bench",
        dialect=DIALECT,
        framing=Framing.JSON,
        content_type="application/json",
        headers=(),
        body=msgspec.json.encode(answer),
    )


# --- misses -------------------------------------------------------------------------------------------------------


def _miss(repeats: int) -> list[Figure]:
    """Every question is new and its partition empty, so that its vector is made while the upstream answers."""
    with _provider(200) as url, node(SEMANTIC, upstream=url) as ours:
        direct = int(url.rpartition(":")[2])
        rounds = [asyncio.run(_miss_round(direct, ours.port, number)) for number in range(max(repeats, 5))]
    return [
        figure("miss_overhead_ms", [added - embed for added, embed in rounds], "ms", "<= 3"),
        figure("miss_added_ms", [added for added, _ in rounds], "ms"),
    ]


async def _miss_round(direct: int, through: int, number: int) -> tuple[float, float]:
    """(what the node added, one embedding pass) in milliseconds: straight, through the node and a pass, in turn."""
    embedder = _embedder()
    await embedder.open()
    turns = []
    for call in range(12):
        body = chat_body(PARAPHRASE, seed=1_000 * number + call)
        turns.append((_once(direct, body), _once(through, body), await _pass(embedder, PARAPHRASE)))
    await embedder.close()
    plain, ours, embed = (statistics.median(times) for times in zip(*turns, strict=True))
    return 1_000 * (ours - plain), 1_000 * embed


def _once(port: int, body: bytes) -> float:
    begun = time.perf_counter()
    answer = ask(port, body)
    if answer.status != 200:
        raise RuntimeError(answer.body.decode())
    return time.perf_counter() - begun


# --- restart ------------------------------------------------------------------------------------------------------


def _restart(repeats: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        asyncio.run(_fill(folder, _questions(1_000)))
        times = [_start(folder) for _ in range(max(repeats, 5))]
    return [figure("restart_s", times, "s", "<= 3")]


def _start(folder: Path) -> float:
    """From the start of the process to the first `/readyz` that says so."""
    begun = time.perf_counter()
    with node(SEMANTIC, folder=folder, local="smollm2-135m-instruct", environment={"EDGECACHE_SECRET": SECRET}):
        return time.perf_counter() - begun
