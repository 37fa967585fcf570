"""A thousand captions in many scripts, always the same ones."""

# ruff: noqa: E501, RUF001 (wide scripts, and letters that look like Latin ones)

_SUBJECTS = (
    "A dog", "two CHILDREN", "the old man's boat", "eine große Straße", "Müller & Söhne",
    "l'élève à Zoë", "un niño pequeño", "Ο ΣΚΥΛΟΣ ΤΗΣ ΟΔΟΥ", "мальчик в шляпе",
    "Їжак і Ёлка", "كلبٌ صغير", "ילד עם כלב", "एक छोटा कुत्ता", "เด็กผู้หญิง",
    "一只狗", "犬と少年が", "ガギグ", "한 소년이", "İstanbul'da bir kedi", "Nguyễn Văn A",
    "ﬁne ﬂowers", "Ｗｉｄｅ　ｔｅｘｔ", "an e\u0301le\u0300ve", "naïve café", "🎸🔥 band",
    "👩\u200d👩\u200d👧 family", "₤5 or €6½", "#NoFilter @home", "“curly” ‘quotes’",
    "&amp;quot;escaped&amp;quot;", "tabs\tand\nlines", "soft\u00adhyphen",
)  # fmt: skip
_VERBS = (
    "runs on grass", "läuft über Brücken", "τρέχει γρήγορα", "бежит по траве",
    "يركض على العشب", "רץ על הדשא", "घास पर दौड़ता है", "วิ่งบนหญ้า", "在草地上奔跑",
    "草の上を走る。", "풀밭을 달린다", "isn't, won't; they'll", "koşuyor", "chạy trên cỏ",
    "x=3.14*r^2", "at 10:45pm (2024-05-06)", "re-uses co-operation", "¿qué? ¡sí!",
    "…and—so–on", "http://a.example/b?c=d&e", "supercalifragilistic" * 3,
)  # fmt: skip
_ENDINGS = ("", ".", "!!", " 7", " 🐕", " in the YEAR 1999", "　end", "\u200b", " ς Σ")
COUNT = 1000


def captions() -> list[str]:
    """Return the captions; no two are alike."""
    found = []
    for number in range(COUNT):
        round_, subject = divmod(number, len(_SUBJECTS))
        verb = _VERBS[(subject + round_) % len(_VERBS)]
        again = round_ // len(_VERBS)
        ending = _ENDINGS[(number * 4 + round_ + again) % len(_ENDINGS)]
        found.append(f"{_SUBJECTS[subject]} {verb}{ending}")
    return found
