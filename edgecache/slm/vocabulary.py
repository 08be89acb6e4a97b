"""The tokenizer inside a GGUF, as one of the `tokenizers` library.

Two kinds are known: byte-level BPE (`gpt2`, with the merges in the file), and SentencePiece BPE (`llama`, with scores
from which the merges follow). Splitting rules are those of llama.cpp for `tokenizer.ggml.pre`.
"""

from collections.abc import Sequence

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from edgecache.errors import ModelSourceError
from edgecache.slm.gguf_file import GgufFile

_CONTROL, _USER_DEFINED = 3, 4
_ENDS = frozenset(("<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "<|end_of_text|>"))
"""Control tokens that end an answer, whatever the file says, as in llama.cpp."""

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = frozenset(("default", "gpt-2", "mpt", "olmo", "jais"))
_DIGITS = frozenset(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"))
_REGEX = {
    "llama-bpe": _LLAMA3 % "{1,3}",
    "llama3": _LLAMA3 % "{1,3}",
    "llama-v3": _LLAMA3 % "{1,3}",
    "falcon3": _LLAMA3 % "{1,3}",
    "qwen2": _LLAMA3 % "",
}


class Vocabulary:
    """The tokenizer and the ids with a meaning of their own.

    Raises:
        ModelSourceError: a kind of tokenizer that is not known, or one that contradicts itself.
    """

    def __init__(self, file: GgufFile) -> None:
        self._file = file
        self.tokens = self._strings("tokenizer.ggml.tokens")
        self.byte_level = file.metadata.get("tokenizer.ggml.model") == "gpt2"
        if len(set(self.tokens)) != len(self.tokens):
            raise self._wrong("it has the same token twice")
        self._kinds = self._per_token("tokenizer.ggml.token_type")
        self.tokenizer = self._build()
        self.tokenizer.add_special_tokens(self._added(_CONTROL))
        self.tokenizer.add_tokens(self._added(_USER_DEFINED))
        if self.tokenizer.get_vocab_size() != len(self.tokens):
            raise self._wrong("its tokens and their ids do not agree")

    def __repr__(self) -> str:
        return f"<Vocabulary tokens={len(self.tokens)} byte_level={self.byte_level}>"

    def named(self, name: str) -> int | None:
        """The id that the file gives the token called `name` (`bos`, `eos`, `eot`)."""
        value = self._file.metadata.get(f"tokenizer.ggml.{name}_token_id")
        return value if isinstance(value, int) and 0 <= value < len(self.tokens) else None

    def text(self, name: str) -> str:
        """The text of the token called `name`, or nothing."""
        number = self.named(name)
        return "" if number is None else self.tokens[number]

    def stops(self) -> tuple[int, ...]:
        """Ids that end an answer."""
        named = {number for number in map(self.named, ("eos", "eot", "eom")) if number is not None}
        known = {number for number, text in enumerate(self.tokens) if text in _ENDS and self._kinds[number] == _CONTROL}
        return tuple(sorted(named | known))

    def starts(self) -> int | None:
        """The id to put before every prompt; SentencePiece models want one unless they say otherwise."""
        wanted = self._file.metadata.get("tokenizer.ggml.add_bos_token", not self.byte_level)
        return self.named("bos") if wanted else None

    def _build(self) -> Tokenizer:
        kind = self._file.metadata.get("tokenizer.ggml.model")
        if kind == "gpt2":
            return self._byte_level()
        if kind == "llama":
            return self._sentence_piece()
        raise self._wrong(f"its kind is {kind!r}, where 'gpt2' and 'llama' are known")

    def _byte_level(self) -> Tokenizer:
        pairs = [tuple(merge.split(" ", 1)) for merge in self._strings("tokenizer.ggml.merges")]
        merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
        tokenizer = Tokenizer(self._bpe(merges))
        tokenizer.pre_tokenizer = self._splitting()
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def _splitting(self) -> pre_tokenizers.PreTokenizer:
        rule = self._file.metadata.get("tokenizer.ggml.pre", "default")
        if rule in _GPT2:
            return pre_tokenizers.ByteLevel(add_prefix_space=False)
        if rule in _DIGITS:
            digits = pre_tokenizers.Digits(individual_digits=True)
            return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        if rule not in _REGEX:
            known = ", ".join(sorted(_GPT2 | _DIGITS | _REGEX.keys()))
            raise self._wrong(f"its splitting rule is {rule!r}, where {known} are known")
        split = pre_tokenizers.Split(Regex(_REGEX[str(rule)]), "isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    def _sentence_piece(self) -> Tokenizer:
        merges = _merges(self.tokens, self._per_token("tokenizer.ggml.scores"))
        unknown = self.text("unknown") or None
        tokenizer = Tokenizer(self._bpe(merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
        prefix = self._file.metadata.get("tokenizer.ggml.add_space_prefix", True)
        steps: list[normalizers.Normalizer] = [normalizers.Prepend("▁")] if prefix else []
        tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
        return tokenizer

    def _bpe(self, merges: list[tuple[str, str]], **options: object) -> models.BPE:
        vocabulary = {text: number for number, text in enumerate(self.tokens)}
        try:
            return models.BPE(vocabulary, merges, **options)
        except Exception as error:  # the library raises bare Exception for a merge that the vocabulary lacks
            raise self._wrong(str(error)) from error

    def _added(self, kind: int) -> list[AddedToken]:
        special = kind == _CONTROL
        return [
            AddedToken(text, special=special, normalized=False)
            for text, its_kind in zip(self.tokens, self._kinds, strict=True)
            if its_kind == kind and text
        ]

    def _strings(self, key: str) -> list[str]:
        value = self._file.metadata.get(key)
        if not isinstance(value, list):
            raise self._wrong(f"{key} is missing")
        return value

    def _per_token(self, key: str) -> Sequence[float]:
        value = self._file.metadata.get(key)
        if not isinstance(value, np.ndarray) or len(value) != len(self.tokens):
            raise self._wrong(f"{key} is missing or not as long as the tokens")
        numbers: list[float] = value.tolist()
        return numbers

    def _wrong(self, what: str) -> ModelSourceError:
        return ModelSourceError(f"The tokenizer in {self._file.path.name} cannot be used: {what}.")


def _merges(tokens: Sequence[str], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Every way to put a token together from two others, best score first: what SentencePiece does by score."""
    places = {text: number for number, text in enumerate(tokens)}
    found: list[tuple[float, int, int]] = []
    for text, score in zip(tokens, scores, strict=True):
        for cut in range(1, len(text)):
            left, right = places.get(text[:cut]), places.get(text[cut:])
            if left is not None and right is not None:
                found.append((-score, left, right))
    return [(tokens[left], tokens[right]) for _, left, right in sorted(found)]
