"""CLIP's vocab.json and merges.txt from the published gz file, independently of Parapet."""
import gzip
import json


def byte_alphabet():
    """Byte -> character, in vocabulary order: printable Latin-1 first, then the other 68."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in kept]
    return {**{byte: chr(byte) for byte in kept}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


def write_clip_files(bpe_gz, folder):
    lines = gzip.decompress(bpe_gz.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    symbols = list(byte_alphabet().values())
    tokens = symbols + [symbol + "</w>" for symbol in symbols]
    tokens += [line.replace(" ", "") for line in lines] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
