"""Runs `parapet tokenize` and builds small tokenizers with the `tokenizers` library."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARAPET = os.environ.get("PARAPET_BINARY", str(ROOT / "build/release/parapet"))
CLIP_VOCABULARY = ROOT / ".cache/assets/bpe_simple_vocab_16e6.txt.gz"


def run_tokenize(model, texts_file, out, *flags):
    command = [PARAPET, "tokenize", "--model", str(model), "--texts", str(texts_file), "--out", str(out), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def tokenize(model, texts, folder, *flags):
    """Ids of each text, through a JSON Lines file; bytes go through a plain file."""
    raw = bool(texts) and isinstance(texts[0], bytes)
    source = folder / ("texts.txt" if raw else "texts.jsonl")
    if raw:
        source.write_bytes(b"".join(text + b"\n" for text in texts))
    else:
        source.write_text("".join(json.dumps(text) + "\n" for text in texts))
    result = run_tokenize(model, source, folder / "ids.jsonl", *flags)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in (folder / "ids.jsonl").read_text().splitlines()]


def assert_same(ours, theirs, texts):
    assert len(ours) == len(theirs) == len(texts)
    wrong = [i for i in range(len(texts)) if ours[i] != theirs[i]]
    shown = "\n".join(f"{texts[i]!a}\n  ours   {ours[i]}\n  theirs {theirs[i]}" for i in wrong[:5])
    assert not wrong, f"{len(wrong)} of {len(texts)} texts differ:\n{shown}"


def bytes_tokenizer(normalizer=None, pre_tokenizer=None):
    """Every byte is a token and every word ends in "</w>": ids show exactly what the stages before
    the model did."""
    from tokenizers import Tokenizer, models

    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, end_of_word_suffix="</w>"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer
