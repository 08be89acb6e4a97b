"""`stale_answers`: three nodes, fills that take 50 ms, purges at random that wait for all nodes, and a checker over
everything that happened.
"""

import asyncio
import random
import sys
import time

import aiohttp
import msgspec

from bench.figures import Figure, figure
from bench.node import CREDENTIAL, chat_body
from bench.purge_cluster import PurgeNode, nodes
from edgecache.core.tags import keys
from edgecache.testing.history import History
from edgecache.testing.scripted_upstream import Answer, Received, ScriptedUpstream, last_user_text

POLICY = '[[route]]\nname = "bench"\nmode = "exact"\n'
SECONDS = 60.0
FILL_MS = 50.0
CLIENTS = 24
DOCUMENTS = 8
QUESTIONS = 24
SEED = 1


def measure(repeats: int) -> list[Figure]:
    """One run, however many repeats of the others: it is a minute long."""
    return asyncio.run(_run())


class Race:
    """The upstream's versions, the clients, the purger, and their history."""

    def __init__(self) -> None:
        self.history = History()
        self.versions = 0
        self._random = random.Random(SEED)

    async def run(self, three: list[PurgeNode]) -> None:
        self._nodes, self._until = three, time.monotonic() + SECONDS
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(self._purge(session), *(self._ask(session) for _ in range(CLIENTS)))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        while time.monotonic() < self._until:
            question = self._random.randrange(QUESTIONS)
            node = self._random.choice(self._nodes)
            begun = self.history.request_begun()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {CREDENTIAL}"}
            url = f"http://127.0.0.1:{node.port}/v1/chat/completions"
            async with session.post(url, data=chat_body(str(question)), headers=headers) as answer:
                content = await answer.json()
                if answer.status != 200:
                    raise RuntimeError(f"{answer.status}: {content}")
            version = int(content["choices"][0]["message"]["content"])
            self.history.answer_served(begun, version, keys([document(question)]))

    async def _purge(self, session: aiohttp.ClientSession) -> None:
        while time.monotonic() < self._until:
            node, named = self._random.choice(self._nodes), document(self._random.randrange(QUESTIONS))
            number = self.history.purge_ordered(keys([named]))
            url = f"http://127.0.0.1:{node.admin}/service/edgecache/purge/{named}?wait=all"
            async with session.post(url, headers={"Fastly-Key": node.token}) as answer:
                if answer.status != 200:
                    raise RuntimeError(await answer.text())
            self.history.purge_acknowledged(number)
            await asyncio.sleep(self._random.expovariate(50))


def document(question: int) -> str:
    """The surrogate key of what a question is answered from."""
    return f"document-{question % DOCUMENTS}"


async def _run() -> list[Figure]:
    print(f"bench purge: {SECONDS:.0f} s of fills and purges, seed {SEED} ...", file=sys.stderr, flush=True)
    race = Race()
    async with ScriptedUpstream(script=lambda request: _answer(race, request)) as upstream:
        cluster = nodes(3, POLICY, upstream=upstream.url)
        three = await asyncio.to_thread(cluster.__enter__)
        try:
            await race.run(three)
        finally:
            await asyncio.to_thread(cluster.__exit__, None, None, None)
    counts = race.history.counts()
    return [
        figure("stale_answers", [float(len(race.history.stale()))], "answers", "<= 0"),
        *(figure(f"race_{name}", [float(count)], "") for name, count in counts.items()),
    ]


def _answer(race: Race, request: Received) -> Answer:
    """Called when the request has come: what was purged later is newer than this version."""
    race.versions += 1
    race.history.fill_started(race.versions)
    message = {"role": "assistant", "content": str(race.versions)}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    named = document(int(last_user_text(request.body)))
    headers = (("Content-Type", "application/json"), ("Surrogate-Key", named))
    return Answer(headers=headers, body=msgspec.json.encode(body), delay_ms=FILL_MS)
