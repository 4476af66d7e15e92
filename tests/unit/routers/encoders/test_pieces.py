from __future__ import annotations

from string import printable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from routers.encoders.pieces import pieces_of

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "book", "a", "flight", "##s", "2", "'", ".", "-", "é")


def bert(normalizer: normalizers.Normalizer | None = None) -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer or normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


TOKENIZER = bert()
PIECES = pieces_of(TOKENIZER)
PARTS = ("book", "BOOK", "Flight", "flights", "a", "2", " ", "-", "'", ".", "[SEP]", "é", "\t")


@given(st.lists(st.sampled_from(PARTS)).map("".join) | st.text(alphabet=printable))
@example("")
@example("Book a-flight.")
def test_what_the_table_reads_it_reads_as_the_tokeniser_does(text: str) -> None:
    assert PIECES is not None

    found = PIECES.read(text)

    assert found is None or found == TOKENIZER.encode(text).ids


def test_plain_text_of_known_words_is_read() -> None:
    assert PIECES is not None
    assert PIECES.read("Book a flight.") == [2, 4, 5, 6, 10, 3]


@pytest.mark.parametrize("text", ["flights", "book [SEP]", "é", "book\ta", "unheard"])
def test_other_text_is_left_to_the_tokeniser(text: str) -> None:
    assert PIECES is not None
    assert PIECES.read(text) is None


def test_a_tokeniser_that_minds_case_has_no_table() -> None:
    assert pieces_of(bert(normalizers.BertNormalizer(lowercase=False))) is None
