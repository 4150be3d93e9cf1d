"""Ids of `parapet tokenize` against `tokenizers`: CLIP's real vocabulary and three other families."""
import json
import shutil

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, CLIPTokenizer

from clip_vocabulary import write_clip_files
from test_tokenizer_unicode import QWEN2
from tokenizer_support import CLIP_VOCABULARY, assert_same, run_tokenize, tokenize
from tokenizer_texts import LANGUAGES, invalid_bytes, texts

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


def train(normalizer, pre_tokenizer, vocab_size=600, alphabet=(), specials=()):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=list(alphabet), special_tokens=list(specials), show_progress=False
    )
    tokenizer.train_from_iterator(list(LANGUAGES.values()) * 3, trainer)
    return tokenizer


def gpt2():
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = train(None, byte_level, alphabet=byte_level.alphabet(), specials=["<|endoftext|>"])
    tokenizer.post_processor, tokenizer.decoder = processors.ByteLevel(), decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken("snake_case_name", single_word=True), AddedToken("the", lstrip=True, rstrip=True)])
    return tokenizer


def qwen2():
    stages = [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    tokenizer = train(normalizers.NFC(), pre_tokenizers.Sequence(stages), alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens(["<|endoftext|>", AddedToken("<|im_start|>", rstrip=True), "<|im_end|>"])
    tokenizer.post_processor, tokenizer.decoder = processors.ByteLevel(trim_offsets=False), decoders.ByteLevel()
    return tokenizer


def llama(metaspace):
    """Llama 2 in its older form (normaliser only) or its newer one (Metaspace)."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = train(None, pre_tokenizers.Metaspace(), 700, specials=["<unk>", "<s>", "</s>", *bytes_])
    state = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in state["merges"]]
    tokenizer = Tokenizer(models.BPE(state["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens([AddedToken("Straße", normalized=True)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A </s> $B", [("<s>", 1), ("</s>", 2)])
    return tokenizer


FAMILIES = {"gpt2": gpt2, "qwen2": qwen2, "llama": lambda: llama(False), "llama_metaspace": lambda: llama(True)}


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


def test_invalid_utf8_is_replaced_as_python_does(clip, tmp_path):
    folder, reference = clip
    samples = invalid_bytes(1000)
    decoded = [raw.decode("utf-8", errors="replace") for raw in samples]
    assert_same(tokenize(folder, samples, tmp_path), reference_ids(reference.backend_tokenizer, decoded), samples)


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
