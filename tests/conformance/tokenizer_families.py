"""Small tokenizers of the byte-level and Llama families, trained on the languages of tokenizer_texts."""
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_texts import LANGUAGES

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


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
