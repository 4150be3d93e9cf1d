"""Ids of `parapet tokenize` against `tokenizers`: CLIP's real vocabulary and three other families."""
import json
import shutil

import pytest
from transformers import AutoTokenizer, CLIPTokenizer

from clip_vocabulary import write_clip_files
from tokenizer_families import FAMILIES
from tokenizer_support import CLIP_VOCABULARY, assert_same, run_tokenize, tokenize
from tokenizer_texts import invalid_bytes, texts

COUNT = 10_500


@pytest.fixture(scope="module")
def samples():
    return texts(COUNT)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with vocab.json and merges.txt, and the reference tokenizer made from them."""
    folder = tmp_path_factory.mktemp("clip")
    write_clip_files(CLIP_VOCABULARY, folder)
    return folder, CLIPTokenizer.from_pretrained(folder)


def reference_ids(tokenizer, samples):
    return [encoding.ids for encoding in tokenizer.encode_batch(samples)]


def test_clip_ids_from_vocabulary_and_merges(clip, samples, tmp_path):
    folder, reference = clip
    assert_same(tokenize(folder, samples, tmp_path), reference_ids(reference.backend_tokenizer, samples), samples)


def test_clip_ids_from_tokenizer_json(clip, samples, tmp_path):
    _, reference = clip
    reference.save_pretrained(tmp_path / "model")
    expected = reference(samples, truncation=True, max_length=77)["input_ids"]
    assert_same(tokenize(tmp_path / "model", samples, tmp_path, "--max-length", "77"), expected, samples)
    plain = reference(samples, add_special_tokens=False)["input_ids"]
    assert_same(tokenize(tmp_path / "model", samples, tmp_path, "--no-special"), plain, samples)


def test_a_text_file_that_is_not_utf8_is_refused_with_its_line(clip, tmp_path):
    """Letters are never replaced without a word; how the tokenizer repairs bytes that reach it
    otherwise is in tests/text/utf8_test.cpp."""
    folder, _ = clip
    for raw in [raw for raw in invalid_bytes(200) if not raw.startswith((b"\xff\xfe", b"\xfe\xff"))][:20]:
        try:
            raw.decode("utf-8")
            continue
        except UnicodeDecodeError:
            pass
        (tmp_path / "texts.txt").write_bytes(b"a cat\n" + raw + b"\n")
        result = run_tokenize(folder, tmp_path / "texts.txt", tmp_path / "ids.jsonl")
        assert result.returncode == 3, raw
        assert "texts.txt:2" in result.stderr and "UTF-8" in result.stderr, result.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(clip, tmp_path, encoding):
    folder, reference = clip
    text = "\ufeffa cat\nune fenêtre 🔪\n" if encoding == "utf-16-be" else "a cat\nune fenêtre 🔪\n"
    (tmp_path / "texts.txt").write_bytes(text.encode(encoding))
    assert run_tokenize(folder, tmp_path / "texts.txt", tmp_path / "ids.jsonl").returncode == 0
    ids = [json.loads(line) for line in (tmp_path / "ids.jsonl").read_text().splitlines()]
    assert ids == reference(["a cat", "une fenêtre 🔪"])["input_ids"]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_family(family, samples, tmp_path):
    tokenizer = FAMILIES[family]()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert_same(tokenize(tmp_path, samples, tmp_path), reference_ids(tokenizer, samples), samples)
    tokenizer.enable_truncation(7)
    assert_same(tokenize(tmp_path, samples, tmp_path, "--max-length", "7"), reference_ids(tokenizer, samples), samples)


def test_published_vocabulary_files_are_equivalent(clip, tmp_path):
    """What a model folder written by Parapet must hold; see also tests/text/clip_tokenizer_test.cpp."""
    folder, reference = clip
    shutil.copytree(folder, tmp_path / "copy")
    again = AutoTokenizer.from_pretrained(tmp_path / "copy")
    assert again("a photo of a cat")["input_ids"] == reference("a photo of a cat")["input_ids"]


def test_plain_file_keeps_blank_lines_and_an_empty_file_gives_nothing(clip, tmp_path):
    folder, reference = clip
    (tmp_path / "texts.txt").write_bytes(b"a cat\r\n\n  two  dogs")
    assert run_tokenize(folder, tmp_path / "texts.txt", tmp_path / "out.jsonl").returncode == 0
    ids = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ids == reference(["a cat", "", "  two  dogs"])["input_ids"]
    (tmp_path / "empty.txt").write_bytes(b"")
    assert run_tokenize(folder, tmp_path / "empty.txt", tmp_path / "out.jsonl").returncode == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "line, problem", [('{"txt": "a"}', "text"), ("3", "JSON string"), ('"a', "not valid JSON")], ids=["field", "type", "json"]
)
def test_bad_line_is_named(clip, line, problem, tmp_path):
    (tmp_path / "texts.jsonl").write_text(f'"fine"\n{line}\n')
    result = run_tokenize(clip[0], tmp_path / "texts.jsonl", tmp_path / "out.jsonl")
    assert result.returncode == 3 and "texts.jsonl:2" in result.stderr and problem in result.stderr
    assert not (tmp_path / "out.jsonl").exists()
