"""A converted model, loaded: text in, token ids, logits, bytes out. Used by one thread."""

from pathlib import Path

from tokenizers import Tokenizer

from edgecache.core.generation import Prompt
from edgecache.errors import BadRequest, ContextTooLong, ModelSourceError
from edgecache.slm import description
from edgecache.slm.build import TOKENIZER
from edgecache.slm.graph import MODEL
from edgecache.slm.session import Session
from edgecache.slm.template import ChatTemplate
from edgecache.slm.text import Spelling


class Engine:
    """Everything that a converted model's folder holds, for `rows` sequences of up to `context` tokens.

    Raises:
        ModelSourceError: the folder is not a converted model, or is damaged.
    """

    def __init__(self, folder: Path, *, rows: int, context: int, threads: int) -> None:
        about = description.read(folder)
        self.context = min(context, about.positions)
        self.stops = frozenset(about.stops)
        self.session = Session(folder / MODEL, about, rows=rows, capacity=self.context, threads=threads)
        self._tokenizer = _tokenizer(folder / TOKENIZER)
        self.spell = Spelling(self._tokenizer, byte_level=about.byte_level)
        self._template = ChatTemplate(about.template, about.bos, about.eos)
        self._about = about

    def __repr__(self) -> str:
        return f"<Engine {self._about.name} context={self.context} {self.session!r}>"

    def encode(self, prompt: Prompt) -> list[int]:
        """The ids of the conversation, with room for at least one token of answer.

        Raises:
            ContextTooLong: there is no room.
            BadRequest: the text cannot be encoded, or the template refuses the conversation.
        """
        self._refuse_longer(sum(len(turn.content) for turn in prompt.turns) // self._about.longest, "at least ")
        text = self._template.render(prompt.turns)
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError) as error:
            raise BadRequest("The messages hold half of a surrogate pair.", param="messages") from error
        if self._about.starts is not None and ids[:1] != [self._about.starts]:
            ids.insert(0, self._about.starts)
        self._refuse_longer(len(ids), "")
        return ids

    def _refuse_longer(self, tokens: int, how_sure: str) -> None:
        """Before tokenising, by what a token can hold at most: a text of megabytes would keep everybody waiting."""
        if tokens >= self.context:
            raise ContextTooLong(
                f"The conversation has {how_sure}{tokens} tokens; the local model's context is {self.context} tokens, "
                "the answer included. Shorten the messages.",
                param="messages",
            )


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library's errors have no other base
        raise ModelSourceError(f"The tokenizer at {path} cannot be read; remove its folder: {error}") from error
