"""Writes tests/goldens/tokenizers/: small tokenizer.json files, and texts with the ids and decoded
texts that `tokenizers` (for CLIP: `transformers`) gives. Run with .venv/bin/python."""
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/conformance"))

from clip_vocabulary import write_clip_files  # noqa: E402
from tokenizer_families import FAMILIES  # noqa: E402
from tokenizer_support import CLIP_VOCABULARY  # noqa: E402
from tokenizer_texts import texts  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402

OUT = ROOT / "tests/goldens/tokenizers"
SAMPLES = texts(180, seed=5)


def case(text, ids, decode):
    return {"text": text, "ids": ids, "decoded": decode(ids, True), "decoded_special": decode(ids, False)}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def main():
    for name, make in FAMILIES.items():
        tokenizer = make()
        write(OUT / name / "tokenizer.json", json.loads(tokenizer.to_str()))
        decode = lambda ids, skip, t=tokenizer: t.decode(ids, skip_special_tokens=skip)  # noqa: E731
        write(OUT / name / "cases.json", [case(text, tokenizer.encode(text).ids, decode) for text in SAMPLES])
    with tempfile.TemporaryDirectory() as folder:
        write_clip_files(CLIP_VOCABULARY, pathlib.Path(folder))
        clip = CLIPTokenizer.from_pretrained(folder)
        decode = lambda ids, skip: clip.backend_tokenizer.decode(ids, skip_special_tokens=skip)  # noqa: E731
        write(OUT / "clip/cases.json", [case(text, clip(text)["input_ids"], decode) for text in SAMPLES])
        state = json.loads(clip.backend_tokenizer.to_str())
        del state["model"]["vocab"], state["model"]["merges"]
        write(OUT / "clip/stages.json", state)


if __name__ == "__main__":
    main()
