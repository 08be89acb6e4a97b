"""The model that comes with edgecache."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from edgecache.core.generation import Finished, Piece, Prompt, Sampling, Turn
from edgecache.slm import LocalModel

Open = Callable[..., LocalModel]
QUESTIONS = ("What is the capital of France?", "Name three colours.", "Write one sentence about a fox.", "What is 2+2?")


async def _ask(model: LocalModel, question: str, **sampling: object) -> tuple[str, Finished]:
    events = [event async for event in model.generate(Prompt((Turn("user", question),), Sampling(**sampling)))]
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, Piece)), events[-1]


async def test_greedy_answer(smollm2: Path, opened: Open) -> None:
    model = opened(smollm2)
    await model.open()
    text, finished = await _ask(model, QUESTIONS[0])
    assert text == "The capital of France is Paris."
    assert finished == Finished("stop", prompt_tokens=37, completion_tokens=8)


async def test_pieces_come_while_the_answer_is_made(smollm2: Path, opened: Open) -> None:
    """At the first piece the row is still busy."""
    model = opened(smollm2)
    await model.open()
    events = model.generate(Prompt((Turn("user", "Count to one hundred."),), Sampling(max_tokens=200)))
    assert isinstance(await anext(events), Piece)
    assert model.statistics().tokens_produced < 200
    await events.aclose()


async def test_batched_answers_are_those_given_alone(smollm2: Path, opened: Open) -> None:
    model = opened(smollm2)
    await model.open()
    alone = [await _ask(model, question, max_tokens=24) for question in QUESTIONS]
    assert await asyncio.gather(*(_ask(model, question, max_tokens=24) for question in QUESTIONS)) == alone


async def test_seed_gives_the_same_story_whatever_runs_beside(smollm2: Path, opened: Open) -> None:
    model = opened(smollm2)
    await model.open()
    options = {"temperature": 0.8, "top_p": 0.9, "seed": 11, "max_tokens": 24}
    alone = await _ask(model, QUESTIONS[2], **options)
    others = [_ask(model, question, max_tokens=30) for question in QUESTIONS]
    together, *_ = await asyncio.gather(_ask(model, QUESTIONS[2], **options), *others)
    assert together == alone
