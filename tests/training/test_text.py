"""The offline tokenizer."""

import json

import pytest

from training.hub import HubUnreachableError
from training.text import PAD, WordTokenizer, tokenize_classes

NAMES = ["sit down", "put on a hat/cap", "check time (from watch)"]
SYMBOLS = ["s", "i", "t</w>", "si", "sit</w>", "<|startoftext|>", "<|endoftext|>"]


def clip_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({symbol: index for index, symbol in enumerate(SYMBOLS)}))
    (folder / "merges.txt").write_text("#version: 0.2\ns i\nsi t</w>\n")


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
    clip_files(tmp_path)
    ids, size = tokenize_classes(["sit"], str(tmp_path))
    assert size == len(SYMBOLS)
    assert ids.tolist() == [[5, 4, 6]]


def test_a_directory_without_tokenizer_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tokenizer"):
        tokenize_classes(NAMES, str(tmp_path))
    with pytest.raises(ValueError, match="tokenizer must be 'auto', 'words', 'clip' or a directory"):
        tokenize_classes(NAMES, "word")
    with pytest.raises(ValueError, match="class_names"):
        tokenize_classes([])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def cached(cache, name):
    """The folder in which the cache keeps a repository's files."""
    root = cache / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    return root / "snapshots" / ("0" * 40)


def test_auto_takes_clips_files_beside_the_weights_and_the_words_of_a_network_without_weights(cache, tmp_path):
    clip_files(tmp_path / "weights")
    assert tokenize_classes(["sit"], "auto", str(tmp_path / "weights")).vocab_size == len(SYMBOLS)
    assert tokenize_classes(["sit"], "auto").vocab_size == WordTokenizer(["sit"]).vocab_size
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "xclip"}')
    assert tokenize_classes(["sit"], "auto", str(tmp_path / "bare")).vocab_size == WordTokenizer(["sit"]).vocab_size


def test_clip_is_found_in_the_cache_and_missed_by_name(cache, tmp_path):
    with pytest.raises(ValueError, match="no CLIP tokenizer files"):
        tokenize_classes(["sit"], "clip")
    clip_files(cached(cache, "openai/clip-vit-base-patch32"))
    for tokenizer, weights in (("clip", None), ("auto", tmp_path / "clip.pt"), ("openai/clip-vit-base-patch32", None)):
        assert tokenize_classes(["sit"], tokenizer, weights).input_ids.tolist() == [[5, 4, 6]]


def test_a_hub_name_without_a_network_is_one_clear_error(cache):
    with pytest.raises(HubUnreachableError, match="'some/clip' is neither a path nor in the Hugging Face cache"):
        tokenize_classes(["sit"], "auto", "some/clip")
