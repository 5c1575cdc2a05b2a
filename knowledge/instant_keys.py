"""Keys under which a question meets a row of a FAQ or a glossary word for word: signs, spaces and capitals don't count.

"베이시스가 뭐예요?", "베이시스란?", "What is the basis?" and "basis" ask what a thing is: their key is the thing. Anything else
in the question makes it another question, whose key is all of it. Knows nothing about rows or databases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_KEY_CHARS = 300  # a longer question is no question of a FAQ
_WHAT_IS = "="  # before the key of a thing whose meaning is asked; no other key begins so

# Signs that belong to what is said: 3.5 is not 35, C++ not C, -5% not 5%, 1/2 not 12.
_SIGNS = re.compile(
    r"(?<=\d),(?=\d{3}(?!\d))|(?P<kept>(?<=\d)[.:/](?=\d)|(?<![\w)])[-−](?=\d)|[%+#]|[&<>=°$€£¥₩@^*~](?!\s*$))|[^\w]|_"
)
_FILLERS = re.compile(r"^(?:(?:혹시|안녕하세요|저기요?|please|hi|hello|hey|excuse me)[\s,.!]+)+", re.IGNORECASE)
_END = re.compile(r"[\s.?!？！。…~,;:]+$")
_QUOTES = "\"'“”‘’「」『』«»`"

_WHAT = r"(?:무엇|무언|뭐|뭔|뭘|뭡|무슨\s*(?:뜻|의미|말)|어떤\s*(?:뜻|의미|것|거|말))"
_COPULA = (
    r"(?:\s*(?:이|인|일|예|에|이예|이에)?(?:요|죠|지요?|야|냐|니|까요?|가요?|건가요?|데요?|나요?|입니까|니까|임|인가요?|인지요?|일까요?"
    r"|ᆫ가요?|가|라고\s*하나요|(?:을|를)?\s*(?:뜻|의미|말|가리키)(?:하나요|하니|합니까|해요?|하는가|하는지요?|나요)))?"
)
_TELL = (
    r"(?:\s*(?:좀|간단히|간략히|쉽게|자세히))*\s*(?:알려|설명해|가르쳐|말해|정의해)\s*"
    r"(?:줘요?|주세요|주실래요|줄래요?|주십시오|주시겠어요|주겠니|봐요?|보세요|달라|라)"
)
_ABOUT = r"(?:\s*(?:이라는|라는|이란|란)\s*(?:것|게|건|거|말|용어|단어|개념)(?:은|는|이)?)"
_KNOW = (
    r"(?:지|인지|건지)?\s*(?:을|를)?(?:\s*(?:좀\s*)?(?:궁금합니다|궁금해요?|알고\s*싶(?:어요?|습니다)|모르겠(?:어요?|습니다)|아시나요|아나요)|"
    + _TELL
    + r")"
)
# What may stand behind a thing where a Korean question asks what it is.
_KOREAN_FRAMES = tuple(
    re.compile(rf"(?P<thing>.+?){tail}$")
    for tail in (
        rf"{_ABOUT}\s*{_WHAT}(?:{_COPULA}|{_KNOW})",
        rf"(?:이란|란)(?:\s*{_WHAT}(?:{_COPULA}|{_KNOW}))?",
        rf"(?:은|는|이|가)?\s*(?:대체\s*|도대체\s*|정확히\s*)?{_WHAT}(?:{_COPULA}|{_KNOW})",
        rf"(?:의|\s)\s*(?:뜻|의미|정의)(?:은|는|이|가)?(?:\s*{_WHAT}{_COPULA}|{_COPULA}|(?:을|를)?{_TELL})?",
        r"(?:을|를)\s*(?:좀\s*|간단히\s*)?(?:정의|설명)해\s*(?:줘요?|주세요|줄래요?|주십시오|보세요|봐)",
    )
)
_ENGLISH_FRAMES = tuple(
    re.compile(frame, re.IGNORECASE)
    for frame in (
        r"(?:(?:can|could|would) you )?(?:please )?(?:tell me |explain )?what(?:'s|’s| is| are|s) (?:(?:the )?(?:meaning|definition) of )?(?P<thing>.+?)",
        r"(?:(?:can|could|would) you )?(?:please )?(?:tell me |explain )what (?P<thing>.+?) (?:is|are|means?)",
        r"what (?:does|do) (?P<thing>.+?) (?:mean|stand for)",
        r"what is meant by (?P<thing>.+?)",
        r"what do you mean by (?P<thing>.+?)",
        r"(?:(?:can|could|would) you )?(?:please )?define (?P<thing>.+?)(?: please)?",
        r"(?:the )?(?:meaning|definition) of (?P<thing>.+?)",
        r"(?P<thing>.+?)(?:'s|’s)? (?:meaning|definition)",
        r"(?P<thing>.+?) (?:means|is) what",
    )
)
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)
_PARENTHESES = re.compile(r"\s*\(([^()]+)\)\s*$")
_WORDS = re.compile(r"[A-Za-z0-9]+")
_HANGUL = re.compile(r"[가-힣]")
_SMALL = frozenset("a an and at by for in of on or the to with".split())


def fold(text: str) -> str:
    """What two ways to write one thing have in common."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return _SIGNS.sub(lambda match: match["kept"] or "", text)


def keys_asked(question: str) -> tuple[str, ...]:
    """All keys that a row may have for it to answer `question`; none for what is too long, or no words."""
    question = _plain(question)
    whole = fold(question)
    if not whole or len(whole) > MAX_KEY_CHARS:
        return ()
    things = [question, *_things(question)]
    return tuple(dict.fromkeys([whole, *(_WHAT_IS + fold(thing) for thing in things if fold(thing))]))


def keys_of_question(question: str) -> tuple[str, ...]:
    """Keys of a stored question, its own first: one that asks what a thing is answers to the thing as well."""
    plain = _plain(question)
    whole = fold(plain)
    if not whole or len(whole) > MAX_KEY_CHARS:
        return ()
    things = [name for thing in _things(plain, is_stored=True) for name in names_of(thing)]
    return tuple(dict.fromkeys([whole, *(_WHAT_IS + fold(name) for name in things if fold(name))]))


def keys_of_term(names: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of a glossary's term with these names, that of the first name first."""
    every = [name for written in names for name in names_of(written)]
    return tuple(dict.fromkeys(_WHAT_IS + fold(name) for name in every if 0 < len(fold(name)) <= MAX_KEY_CHARS))


def names_of(written: str) -> tuple[str, ...]:
    """The names in "letter of credit (L/C)": whole, without the parentheses, and the initials in them.

    Other parentheses narrow the name ("기준금리(미국)"), so that the name without them may be another thing.
    """
    match = _PARENTHESES.search(written)
    if not match:
        return (written,)
    outer, inner = written[: match.start()].strip(), match[1].strip()
    if _are_initials(inner, outer) or _are_initials(outer, inner):
        return (written, outer, inner)
    is_translation = _HANGUL.search(outer) and not _HANGUL.search(inner) and fold(inner) and not re.search(r"\d", inner)
    return (written, outer) if is_translation and not inner.isupper() else (written,)


def _plain(question: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", question).split())
    text = "".join(letter for letter in text if letter not in _QUOTES or letter in "'’")
    return _END.sub("", _FILLERS.sub("", text)).strip()


def _things(question: str, *, is_stored: bool = False) -> Iterator[str]:
    """What may be the thing whose meaning is asked; the wrong ones among them are no row's name.

    `is_stored`: the question is a FAQ's, which must not answer to half of itself.
    """
    for frame in _ENGLISH_FRAMES:
        if match := frame.fullmatch(question):
            thing = match["thing"].strip(" '’")
            yield _ARTICLE.sub("", thing)
            if not is_stored and re.match(r".*\bare\b", question, re.IGNORECASE) and thing.endswith("s"):
                yield _ARTICLE.sub("", thing)[:-1]
            return
    if not _HANGUL.search(question):
        return
    for frame in _KOREAN_FRAMES:
        if match := frame.fullmatch(question):
            yield match["thing"].strip(" ,'’")
            if is_stored:
                return


def _are_initials(short: str, words: str) -> bool:
    letters = re.sub(r"[^a-z0-9]", "", short.casefold())
    parts = [word.casefold() for word in _WORDS.findall(words)]
    big = "".join(word[0] for word in parts if word not in _SMALL)
    return len(letters) >= 2 and not re.search(r"\s", short) and letters in (big, "".join(word[0] for word in parts))
