"""The scheduler: what a caller of the local model sees, with the tiny model."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from tiny_llama import CONTEXT

from edgecache.core.generation import Finished, Piece, Prompt, Sampling, Turn
from edgecache.errors import BadRequest, ContextTooLong, ModelUnavailable, Overloaded
from edgecache.slm import LocalModel
from edgecache.slm.session import Session

Open = Callable[..., LocalModel]
Events = AsyncGenerator[Piece | Finished, None]


def _prompt(text: str = "hello", **sampling: object) -> Prompt:
    return Prompt((Turn("user", text),), Sampling(**sampling))


async def _ask(model: LocalModel, prompt: Prompt) -> tuple[str, Finished]:
    events = [event async for event in model.generate(prompt)]
    assert isinstance(events[-1], Finished)
    assert all(isinstance(event, Piece) for event in events[:-1])
    return "".join(event.text for event in events if isinstance(event, Piece)), events[-1]


async def _until(condition: Callable[[], bool]) -> None:
    """The worker thread reports nothing of what it frees; it is looked at until it has."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture
async def model(tiny: Path, opened: Open) -> LocalModel:
    model = opened(tiny)
    await model.open()
    return model


async def test_pieces_then_one_finish(model: LocalModel) -> None:
    text, finished = await _ask(model, _prompt(max_tokens=12))
    assert finished.reason in ("length", "stop")
    assert 0 < finished.completion_tokens <= 12
    # Three control tokens, and `he` is one token.
    assert finished.prompt_tokens == len("user\nhello\nassistant\n") + 3 - 1
    assert (text, finished) == await _ask(model, _prompt(max_tokens=12))


async def test_same_answer_alone_and_in_a_batch(model: LocalModel) -> None:
    """Eight at once, of different lengths, greedy and drawn, against each alone."""
    prompts = [
        _prompt("x" * (9 * n + 1), seed=n, temperature=float(n % 2), top_p=0.9, max_tokens=10 + 3 * n) for n in range(8)
    ]
    alone = [await _ask(model, prompt) for prompt in prompts]
    assert await asyncio.gather(*(_ask(model, prompt) for prompt in prompts)) == alone


async def test_more_questions_than_rows(tiny: Path, opened: Open) -> None:
    model = opened(tiny, rows=2)
    await model.open()
    prompts = [_prompt(f"question {n}", max_tokens=5 + n) for n in range(9)]
    answers = await asyncio.gather(*(_ask(model, prompt) for prompt in prompts))
    assert answers == [await _ask(model, prompt) for prompt in prompts]


async def test_seed_repeats_and_other_seeds_differ(model: LocalModel) -> None:
    def drawn(seed: int) -> Prompt:
        return _prompt(temperature=1.5, seed=seed, max_tokens=30)

    assert await _ask(model, drawn(1)) == await _ask(model, drawn(1))
    assert len({(await _ask(model, drawn(seed)))[0] for seed in range(5)}) > 1


async def test_stop_string_ends_and_is_not_shown(model: LocalModel) -> None:
    text, _ = await _ask(model, _prompt(max_tokens=30, temperature=1.0, seed=5))
    stop = text[3:6]
    shown, finished = await _ask(model, _prompt(max_tokens=30, temperature=1.0, seed=5, stop=(stop,)))
    assert shown == text[: text.find(stop)]
    assert finished.reason == "stop"
    assert finished.completion_tokens < 30


async def test_answer_is_cut_by_the_context(tiny: Path, opened: Open) -> None:
    model = opened(tiny, context=64)
    await model.open()
    results = [await _ask(model, _prompt("x" * 30, temperature=2.0, seed=seed, max_tokens=500)) for seed in range(5)]
    full = [one for _, one in results if one.reason == "length"]
    assert full
    assert all(one.prompt_tokens + one.completion_tokens == 64 for one in full)


async def test_no_tokens_wanted(model: LocalModel) -> None:
    text, finished = await _ask(model, _prompt(max_tokens=0))
    assert (text, finished.reason, finished.completion_tokens) == ("", "length", 0)


@pytest.mark.parametrize(("size", "tokens"), [(CONTEXT, rf"{CONTEXT + 19} tokens"), (1_000_000, "at least .* tokens")])
async def test_prompt_beyond_the_context(size: int, tokens: str, model: LocalModel) -> None:
    with pytest.raises(ContextTooLong, match=rf"{tokens}.* context is {CONTEXT} tokens"):
        await _ask(model, _prompt("x" * size))
    await _ask(model, _prompt(max_tokens=2))


async def test_half_a_surrogate_pair(model: LocalModel) -> None:
    with pytest.raises(BadRequest, match="surrogate"):
        await _ask(model, _prompt("a\ud800"))
    await _ask(model, _prompt(max_tokens=2))


async def test_leaving_frees_the_row(tiny: Path, opened: Open) -> None:
    model = opened(tiny, rows=1)
    await model.open()
    events: Events = model.generate(_prompt(temperature=2.0, seed=1))
    await anext(events)
    assert model.statistics().busy_rows == 1
    await events.aclose()
    await _until(lambda: model.statistics().busy_rows == 0)
    assert model.statistics().cancelled == 1
    await _ask(model, _prompt(max_tokens=3))


async def test_others_are_not_disturbed_by_who_leaves(model: LocalModel) -> None:
    staying = [_prompt(f"stay {n}", max_tokens=60, temperature=1.0, seed=n) for n in range(3)]
    alone = [await _ask(model, prompt) for prompt in staying]
    leaving = [model.generate(_prompt(f"leave {n}", temperature=2.0, seed=n)) for n in range(3)]
    for events in leaving:
        await anext(events)
    together = asyncio.gather(*(_ask(model, prompt) for prompt in staying))
    for events in leaving:
        await anext(events, None)
        await events.aclose()
    assert await together == alone


async def test_cancelled_while_its_prompt_is_read(tiny: Path, opened: Open) -> None:
    """Cancelled at once after it was submitted: queued, being read or just read, the row comes free."""
    model = opened(tiny, rows=1)
    await model.open()
    for _ in range(20):
        task = asyncio.create_task(_ask(model, _prompt("x" * 200)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    text, finished = await _ask(model, _prompt("x" * 200, max_tokens=3))
    assert finished.completion_tokens > 0
    assert text
    await _until(lambda: model.statistics().busy_rows == 0)


async def test_run_under_way_is_ended_and_the_next_one_is_not(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller leaves between the start of a read and its end; the run ends early and harms nobody else."""
    started, left, ended = threading.Event(), threading.Event(), threading.Event()
    read = Session.read

    def held(session: Session, row: int, tokens: list[int], length: int) -> object:
        if left.is_set():
            return read(session, row, tokens, length)
        started.set()
        left.wait(20)
        try:
            return read(session, row, tokens, length)
        except ModelUnavailable:
            ended.set()
            raise

    monkeypatch.setattr(Session, "read", held)
    leaving = asyncio.create_task(_ask(model, _prompt()))
    await asyncio.to_thread(started.wait, 20)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    left.set()
    await _ask(model, _prompt(max_tokens=2))
    assert ended.is_set()
    assert model.statistics().failed == 0


async def test_text_held_back_for_a_stop_comes_out_at_the_end(model: LocalModel) -> None:
    text, finished = await _ask(model, _prompt(max_tokens=12))
    assert await _ask(model, _prompt(max_tokens=12, stop=(text[-1] + "never",))) == (text, finished)


async def test_queue_is_bounded(tiny: Path, opened: Open) -> None:
    """Nothing is taken from the queue before the model is loaded, so that what waits is known."""
    allowed = threading.Event()
    model = LocalModel("slow", lambda: (allowed.wait(20), tiny)[1], queue=2)
    await model.open()
    waiting = [asyncio.create_task(_ask(model, _prompt(max_tokens=3))) for _ in range(2)]
    await _until(lambda: model.statistics().waiting == 2)
    with pytest.raises(Overloaded) as caught:
        await _ask(model, _prompt())
    assert caught.value.retry_after == 1
    assert not model.ready
    allowed.set()
    assert len(await asyncio.gather(*waiting)) == 2
    assert model.ready
    assert model.statistics().refused == 1
    await model.close()


async def test_model_that_cannot_be_loaded(opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = opened(tmp_path / "absent")
    await model.open()
    with pytest.raises(ModelUnavailable, match="not a converted model"):
        await _ask(model, _prompt())
    with pytest.raises(ModelUnavailable, match="not a converted model"):
        await _ask(model, _prompt())
    assert not model.ready
    assert "could not be loaded" in caplog.text


async def test_closing_ends_what_runs_and_what_waits(tiny: Path, opened: Open) -> None:
    model = opened(tiny, rows=1)
    await model.open()
    events: Events = model.generate(_prompt(temperature=2.0, seed=1))
    await anext(events)
    waiting = asyncio.create_task(_ask(model, _prompt()))
    await _until(lambda: model.statistics().waiting == 1)
    await model.close()
    await model.close()
    with pytest.raises(ModelUnavailable):
        async for _ in events:
            pass
    with pytest.raises(ModelUnavailable):
        await waiting
    with pytest.raises(ModelUnavailable, match="closed"):
        await _ask(model, _prompt())


async def test_close_without_open(tiny: Path) -> None:
    model = LocalModel("tiny", lambda: tiny)
    await model.close()
    assert repr(model) == "<LocalModel tiny <Worker tiny ready=False waiting=0 None>>"


async def test_step_that_fails_ends_its_answers_only(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await _ask(model, _prompt(max_tokens=2))
    with monkeypatch.context() as patch:
        patch.setattr("edgecache.slm.sequence.choose", lambda *arguments: 1 // 0)
        with pytest.raises(ModelUnavailable, match=r"The local model failed\."):
            await _ask(model, _prompt())
    assert "failed in a step" in caplog.text
    await _ask(model, _prompt(max_tokens=2))


async def test_prompt_that_breaks_the_encoder_ends_no_other(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running: Events = model.generate(_prompt(temperature=2.0, seed=1))
    await anext(running)
    with monkeypatch.context() as patch:
        patch.setattr("edgecache.slm.template.ChatTemplate.render", lambda *arguments: 1 // 0)
        with pytest.raises(ModelUnavailable, match="could not read"):
            await _ask(model, _prompt())
    assert isinstance(await anext(running), Piece)
    await running.aclose()
    assert "could not be encoded" in caplog.text


async def test_loop_is_never_blocked(model: LocalModel) -> None:
    with blockbuster_ctx() as guard:
        assert isinstance(guard, BlockBuster)
        await asyncio.gather(*(_ask(model, _prompt(f"question {n}", max_tokens=20)) for n in range(4)))


async def test_statistics_count(model: LocalModel) -> None:
    _, finished = await _ask(model, _prompt(max_tokens=4))
    counted = model.statistics()
    assert (counted.tokens_read, counted.tokens_produced) == (finished.prompt_tokens, finished.completion_tokens)
    assert counted.load_seconds is not None
