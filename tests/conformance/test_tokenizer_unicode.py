"""Every stage before the model, on every code point and on awkward texts, against `tokenizers`."""
import pytest
from tokenizers import Regex, normalizers, pre_tokenizers

from tokenizer_families import GPT2, LLAMA3, QWEN2
from tokenizer_support import assert_same, bytes_tokenizer, tokenize
from tokenizer_texts import texts

BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
NORMALIZERS = {
    "NFC": normalizers.NFC(),
    "NFD": normalizers.NFD(),
    "NFKC": normalizers.NFKC(),
    "NFKD": normalizers.NFKD(),
    "Lowercase": normalizers.Lowercase(),
    "StripAccents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "Strip": normalizers.Strip(),
    "StripLeft": normalizers.Strip(left=True, right=False),
    "Prepend": normalizers.Prepend("▁"),
    "ReplaceString": normalizers.Replace(" ", "▁"),
    "ReplaceRegex": normalizers.Replace(Regex(r"\s+"), " "),
    "ReplaceDigits": normalizers.Replace(Regex(r"[\d\w]x?"), "#"),
    "ReplaceEmpty": normalizers.Replace(Regex(r"x*"), "-"),
}
PRE_TOKENIZERS = {
    "Whitespace": pre_tokenizers.Whitespace(),
    "WhitespaceSplit": pre_tokenizers.WhitespaceSplit(),
    "Punctuation": pre_tokenizers.Punctuation(),
    "PunctuationContiguous": pre_tokenizers.Punctuation("contiguous"),
    "Digits": pre_tokenizers.Digits(),
    "DigitsIndividual": pre_tokenizers.Digits(individual_digits=True),
    "Metaspace": pre_tokenizers.Metaspace(),
    "MetaspaceFirst": pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
    "MetaspaceNever": pre_tokenizers.Metaspace(prepend_scheme="never"),
    "ByteLevel": pre_tokenizers.ByteLevel(),
    "ByteLevelPlain": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    "ByteLevelThenDigits": pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(), pre_tokenizers.Digits()]),
    "Gpt2": pre_tokenizers.Split(Regex(GPT2), "isolated"),
    "Qwen2": pre_tokenizers.Split(Regex(QWEN2), "isolated"),
    "Llama3": pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
    "Shorthands": pre_tokenizers.Split(Regex(r"\w+|[^\w\s]\d|\S"), "isolated"),
    "Negated": pre_tokenizers.Split(Regex(r"\P{L}+|\W"), "removed"),
    "Lines": pre_tokenizers.Split(Regex(r"^.|.$"), "isolated"),
    "DotAll": pre_tokenizers.Split(Regex(r"(?m:a.)"), "isolated"),
    "Empty": pre_tokenizers.Split(Regex(r"(?=\s)"), "isolated"),
    "StringSplit": pre_tokenizers.Split("a", "merged_with_next"),
    "DigitsSpaces": pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()]),
}


def all_code_points():
    """Every assigned code point between letters and before a mark, two hundred to a text."""
    codes = [chr(c) for c in [*range(0xD800), *range(0xF900, 0x323B0), *range(0xE0000, 0xE0200)]]
    return ["".join(f"a{c}b\u0301" for c in codes[i : i + 200]) for i in range(0, len(codes), 200)]


def compare(tokenizer, samples, folder):
    tokenizer.save(str(folder / "tokenizer.json"))
    theirs = [encoding.ids for encoding in tokenizer.encode_batch(samples)]
    assert_same(tokenize(folder, samples, folder), theirs, samples)


@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_normalizers(name, tmp_path):
    compare(bytes_tokenizer(normalizer=NORMALIZERS[name]), texts(800, seed=11), tmp_path)


@pytest.mark.parametrize("name", list(PRE_TOKENIZERS))
def test_pre_tokenizers(name, tmp_path):
    compare(bytes_tokenizer(pre_tokenizer=PRE_TOKENIZERS[name]), texts(800, seed=12), tmp_path)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_split_behaviors(behavior, invert, tmp_path):
    split = pre_tokenizers.Split(Regex(r"[aeiou\s]"), behavior, invert)
    compare(bytes_tokenizer(pre_tokenizer=split), texts(400, seed=13), tmp_path)


@pytest.mark.parametrize("name", ["NFC", "NFKD", "Lowercase", "StripAccents"])
def test_normalizers_on_every_code_point(name, tmp_path):
    compare(bytes_tokenizer(normalizer=NORMALIZERS[name]), all_code_points(), tmp_path)


@pytest.mark.parametrize("name", ["Whitespace", "Punctuation", "Digits", "Gpt2", "Shorthands"])
def test_pre_tokenizers_on_every_code_point(name, tmp_path):
    compare(bytes_tokenizer(pre_tokenizer=PRE_TOKENIZERS[name]), all_code_points(), tmp_path)
