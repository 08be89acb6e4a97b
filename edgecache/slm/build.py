"""Conversion: a GGUF file becomes a folder with graph, weights, tokenizer and description."""

from pathlib import Path
from typing import Protocol

from edgecache.errors import ModelSourceError
from edgecache.slm import description
from edgecache.slm.checkpoint import Checkpoint
from edgecache.slm.graph import Graph, Recipe, positions
from edgecache.slm.template import ChatTemplate
from edgecache.slm.vocabulary import Vocabulary

VERSION = "2"
"""Changes with anything that changes what `build` writes."""

TOKENIZER = "tokenizer.json"


class Steps(Protocol):
    """Told how far the conversion is."""

    def step(self, label: str, done: int, total: int) -> None: ...


def build(source: Path, out: Path, progress: Steps, recipe: Recipe | None = None) -> None:
    """Convert `source`, a GGUF file or a folder that holds one, into the empty folder `out`. Blocks for seconds.

    Raises:
        ModelSourceError: it is not a model that can be run here; the message says why.
    """
    checkpoint = Checkpoint(_find(source))
    vocabulary = Vocabulary(checkpoint.file)
    described = _describe(checkpoint, vocabulary)
    _write_graph(checkpoint, out, progress, recipe or Recipe())
    vocabulary.tokenizer.save(str(out / TOKENIZER))
    description.write(out, described)


def _find(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob("*.gguf"))
    if len(found) != 1:
        raise ModelSourceError(f"{source} holds {len(found)} GGUF files; give the path of one.")
    return found[0]


def _describe(checkpoint: Checkpoint, vocabulary: Vocabulary) -> description.Description:
    shape = checkpoint.shape
    if len(vocabulary.tokens) > shape.vocabulary:
        raise ModelSourceError(f"{checkpoint.file.path.name} has more tokens than rows in its embedding.")
    template = checkpoint.file.metadata.get("tokenizer.chat_template", "")
    # Compiling it here shows at conversion, not at the first question, that it cannot be used.
    ChatTemplate(str(template), vocabulary.text("bos"), vocabulary.text("eos"))
    return description.Description(
        name=str(checkpoint.file.metadata.get("general.name", checkpoint.file.path.stem)),
        layers=shape.layers,
        kv_heads=shape.kv_heads,
        head_size=shape.head_size,
        vocabulary=shape.vocabulary,
        positions=positions(checkpoint),
        stops=vocabulary.stops(),
        starts=vocabulary.starts(),
        byte_level=vocabulary.byte_level,
        longest=max(map(len, vocabulary.tokens)),
        template=str(template),
        bos=vocabulary.text("bos"),
        eos=vocabulary.text("eos"),
    )


def _write_graph(checkpoint: Checkpoint, out: Path, progress: Steps, recipe: Recipe) -> None:
    total = checkpoint.shape.layers + 2
    label = f"converting {checkpoint.file.path.name}"
    progress.step(label, 0, total)
    with Graph(out, checkpoint, recipe) as graph:
        graph.start()
        for layer in range(checkpoint.shape.layers):
            progress.step(label, layer + 1, total)
            graph.layer(layer)
        graph.end()
        graph.save()
    progress.step(label, total, total)
