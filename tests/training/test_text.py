"""The offline tokenizer."""

import json

import pytest

from training.text import PAD, WordTokenizer, tokenize_classes

NAMES = ["sit down", "put on a hat/cap", "check time (from watch)"]


def test_rows_end_with_the_largest_id_then_padding():
    ids, size = tokenize_classes(NAMES)
    assert ids.max().item() == size - 1
    for row in ids:
        end = row.tolist().index(size - 1)
        assert set(row.tolist()[end + 1 :]) <= {PAD}


def test_each_class_has_its_own_ids_and_equal_words_share_one():
    words = WordTokenizer(["sit down", "lie down"])
    first, second = words.encode("sit down"), words.encode("lie down")
    assert first != second
    assert first[2] == second[2]


def test_the_order_of_the_classes_does_not_change_the_ids():
    assert WordTokenizer(NAMES).encode("sit down") == WordTokenizer(NAMES[::-1]).encode("Sit  down")


def test_a_word_outside_the_vocabulary_is_spelled_in_bytes():
    words = WordTokenizer(["sit down"])
    assert words.encode("up")[1:-1] == [1 + ord("u"), 1 + ord("p")]


def test_clip_files_in_a_directory_are_used(tmp_path):
    symbols = ["s", "i", "t</w>", "si", "sit</w>", "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({symbol: index for index, symbol in enumerate(symbols)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\ns i\nsi t</w>\n")
    ids, size = tokenize_classes(["sit"], str(tmp_path))
    assert size == len(symbols)
    assert ids.tolist() == [[5, 4, 6]]


def test_a_directory_without_tokenizer_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tokenizer"):
        tokenize_classes(NAMES, str(tmp_path))
    with pytest.raises(ValueError, match="'words' or a directory"):
        tokenize_classes(NAMES, "clip")
    with pytest.raises(ValueError, match="class_names"):
        tokenize_classes([])
