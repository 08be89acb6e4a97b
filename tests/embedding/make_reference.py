"""Makes `reference.json` with sentence-transformers: `python tests/embedding/make_reference.py MODEL_FOLDER`.

MODEL_FOLDER is all-MiniLM-L6-v2 as sentence-transformers stores it. Needs `pip install sentence-transformers`.
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import sentence_transformers
import torch
from embedding_texts import TEXTS


def main(folder: str) -> None:
    model = sentence_transformers.SentenceTransformer(folder, device="cpu")
    # One text at a time, so that no padding is involved in what the batches are compared with.
    vectors = [model.encode([text], show_progress_bar=False)[0] for text in TEXTS]
    made = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
    texts = {
        text: base64.b64encode(np.asarray(v, "<f4").tobytes()).decode() for text, v in zip(TEXTS, vectors, strict=True)
    }
    path = Path(__file__).with_name("reference.json")
    path.write_text(json.dumps({"made_with": made, "vectors": texts}, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
