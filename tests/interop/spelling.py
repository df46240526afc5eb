"""Small tokenizers as diffusers' folders have them: vocab.json and merges.txt of CLIP, spiece.model of T5, trained here on a few sentences."""

from __future__ import annotations

import io
import json
from functools import cache

TEXTS = [
    "a photo of a cat that sits on the mat and looks at its own tail",
    "the quick brown fox jumps over the lazy dog, it's 3.14 times as fast!",
    "two red birds over a green house by the blue water",
    "ünïcode café ﬁne — “quotes” 日本語 русский",
]


@cache
def _pairs() -> tuple[str, str]:
    """Pairs by how often they are neighbours, over the bytes of CLIP's alphabet."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [w for text in TEXTS for chunk in text.lower().split() for w, _ in split.pre_tokenize_str(chunk)]
    rows, merges = [[*w[:-1], w[-1] + "</w>"] for w in words], []
    for _ in range(60):
        counts: dict[tuple[str, str], int] = {}
        for row in rows:
            for pair in zip(row, row[1:], strict=False):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda p: (counts[p], p))
        merges.append(best)
        for row in rows:
            at = 0
            while at < len(row) - 1:
                if (row[at], row[at + 1]) == best:
                    row[at : at + 2] = ["".join(best)]
                at += 1
    tokens = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(p) for p in merges), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return json.dumps(vocab), "#version: 0.2\n" + "\n".join(" ".join(p) for p in merges) + "\n"


@cache
def _pieces() -> bytes:
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    numbers = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 30), model_writer=model, vocab_size=140, model_type="unigram", hard_vocab_limit=False, minloglevel=2, **numbers
    )
    return model.getvalue()


def clip_files(folder):
    """How many codes there are."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = _pairs()
    (folder / "vocab.json").write_text(vocab)
    (folder / "merges.txt").write_text(merges)
    return len(json.loads(vocab))


def t5_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(_pieces())
