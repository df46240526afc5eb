"""Small BERTs in folders, with a vocabulary of single letters."""

from __future__ import annotations

from string import ascii_lowercase

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*MARKS, "the", "cat", "red", *ascii_lowercase, *("##" + x for x in ascii_lowercase))
V = len(WORDS)
LITTLE = {"vocab_size": V, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 40, "num_hidden_layers": 2, "max_position_embeddings": 29}


def wordpieces() -> Tokenizer:
    """A tokenizer as BERT's, with few words."""
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(list(MARKS))
    return made


def folder(place, model):
    """The model and the tokenizer as transformers leaves them."""
    model.save_pretrained(place)
    wordpieces().save(str(place / "tokenizer.json"))
    return place
