"""Texts for tokenizer comparisons: 25 languages, scripts, symbols, control characters, random Unicode."""
import random
import sys
import unicodedata

LANGUAGES = {
    "en": "The quick brown fox doesn't jump over 12 lazy dogs; it's a photo they've taken, I'll say.",
    "de": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, Straße 7!",
    "fr": "Dès Noël où un zéphyr haï me vêt de glaçons würmiens, l'été c'est loin.",
    "es": "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia; ¿añoraba él mañana?",
    "it": "Quel vituperabile xenofobo zelante assaggia il whisky perché è così.",
    "pt": "À noite, vovô Kowalsky vê o ímã cair no pé do pingüim queixoso.",
    "nl": "Pa's wijze lynx bezag vroom het fikse aquaduct in 's-Hertogenbosch.",
    "pl": "Zażółć gęślą jaźń, a potem dwadzieścia pięć łódek.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "hu": "Árvíztűrő tükörfúrógép, hűvös őszi délután.",
    "ro": "Muzicologă în bej vând whisky și tequila, preț fix; Țară și țări.",
    "sv": "Flygande bäckasiner söka hwila på mjuka tuvor, Åsa.",
    "fi": "Törkylempijävongahdus ja hyvää yötä äidille.",
    "tr": "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da IĞDIR ıssız.",
    "vi": "Do bạch kim rất quý nên sẽ dùng để lắp vô xương; Tiếng Việt có dấu.",
    "ru": "Съешь же ещё этих мягких французских булок, да выпей чаю. ЁЖИК",
    "uk": "Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!",
    "el": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΟΔΥΣΣΕΥΣ ΣΊΣΥΦΟΣ",
    "he": "דג סקרן שט בים מאוכזב ולפתע מצא חברה, שָׁלוֹם עֲלֵיכֶם",
    "ar": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر، ٣٤٥ مُحَمَّد",
    "fa": "بر اثر چنین تلقین و شست‌وشوی مغزی جامعی می‌خواهم ۱۲۳",
    "hi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश, क़लम ज़रा १२",
    "th": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓",
    "ja": "いろはにほへと ちりぬるを。ガギグゲゴ がぎぐ ﾊﾝｶｸ 東京タワー、写真を撮る!",
    "ko": "키스의 고유조건은 입술끼리 만나야 하고. 한글 각",
    "zh": "一只敏捷的棕色狐狸跳过了懒狗,照片里有三只猫。臺灣繁體字",
    "bn": "আমি বাংলায় গান গাই; ১২৩ কোটি ড় ঢ়",
    "ta": "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது",
}
SYMBOLS = [
    "👩‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀", "☃", "™", "ﬁ", "Ⅷ", "½", "²", "㎏", "…", "—",
    "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\ufeff", "\u0085", "\u180e", "\u1680", "\u202f",
    "e\u0301", "a\u0323\u0302", "\u0301", "q\u0307\u0323", "Å", "\u212b", "\u0344", "\u1100\u1161\u11a8",
    "<|startoftext|>", "<|endoftext|>", "<|endoftext", "<s>", "</s>", "<0x41>", "</w>", "<|ENDOFTEXT|>", "|>",
    "'s", "'S", "'LL", "don't", "they're", "I'd've", "''s", "!'s", "'ſ", "``", "##", "▁", "▁▁", "Ġ", "Ċ",
    "\t", "\n", "\r\n", " \n ", "   ", "\v\f", "\x00", "\x1f", "\x7f", "\u009f", "3.14159", "1,000,000", "٣", "x²y",
    "http://a.b/c?d=e&f=g#h", "user@host", "C++20", "snake_case_name", "CamelCaseName", "a-b-c", "...", "?!?!",
    "İ", "ẞ", "ΑΣ", "ǅ", "Ⓐ", "𝔘𝔫𝔦", "𐐀", "ꭰ", "Ა", "ი", "ﷺ", "가", "ö", "o\u0308", "\U000e0041", "\uffff", "\U0010ffff",
]


def random_code_point(rng):
    while True:
        top = rng.choice([0x7F, 0x24F, 0x7FF, 0x2FFF, 0xFFFF, 0x1FFFF, 0x10FFFF])
        code = rng.randint(0, top)
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def _words(rng):
    text = rng.choice(list(LANGUAGES.values()))
    words = text.split()
    start = rng.randrange(len(words))
    piece = " ".join(words[start : start + rng.randint(1, 12)])
    return rng.choice([str, str, str.upper, str.lower, str.title])(piece)


def _mixed(rng):
    parts = []
    for _ in range(rng.randint(1, 8)):
        parts.append(rng.choice([_words, lambda r: r.choice(SYMBOLS), random_code_point])(rng))
        parts.append(rng.choice(["", " ", " ", "  ", "\t", "\n", "\u00a0"]))
    return "".join(parts)


def _long_word(rng):
    unit = rng.choice(["a", "ab", "hello", "ñ", "字", "!", "ก", "1", "é", "👍", " ", "'s"])
    return unit * rng.randint(20, 200)


def _random_unicode(rng):
    return "".join(random_code_point(rng) for _ in range(rng.randint(1, 30)))


def _random_ascii(rng):
    return "".join(chr(rng.randint(0, 127)) for _ in range(rng.randint(1, 40)))


def _forms(rng):
    return unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC", "NFKD"]), _words(rng))


def texts(count, seed=1):
    """`count` distinct valid texts, the same for the same seed."""
    rng = random.Random(seed)
    found = dict.fromkeys(["", " ", "\n", *SYMBOLS, *LANGUAGES.values()])
    makers = [_words, _words, _mixed, _mixed, _random_unicode, _random_ascii, _forms, _long_word]
    while len(found) < count:
        found[rng.choice(makers)(rng)] = None
    return list(found)[:count]


def invalid_bytes(count, seed=2):
    """Byte strings without line breaks, most of them not UTF-8."""
    rng = random.Random(seed)
    fixed = [b"\xff", b"a\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe0\x80\x80x"]
    out = list(fixed)
    while len(out) < count:
        raw = bytearray(_words(rng).encode())
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(raw) + 1)
            raw[at:at] = bytes([rng.choice([0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xF8, 0xFF, rng.randrange(256)])])
        if rng.random() < 0.5 and len(raw) > 1:
            del raw[rng.randrange(len(raw))]
        out.append(bytes(raw).replace(b"\n", b"").replace(b"\r", b""))
    return [raw for raw in out if raw]


if __name__ == "__main__":
    sys.stdout.write("\n".join(repr(t) for t in texts(50)))
