"""Find the artists of a credit, and the groups of recordings that share an artist.

'A feat. B', 'A & B', 'A, B' and 'The A' are credits of A. Recordings whose credits share an artist,
directly or through others, form one group, which a split can keep on one side. A band whose name is
divided by mistake ('Earth, Wind & Fire') is still one group, since the whole name counts too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import category, normalize

from scipy.cluster.hierarchy import DisjointSet

# separates the artists of a credit; a comma may also be inside a name ('Cash, Johnny')
_BETWEEN = re.compile(
    r"[&+/;]|[\s(\[,]+(?:feat|ft|featuring|with|and|vs|versus)\b\.?", re.IGNORECASE
)
_ACCENTS = re.compile("[\u0300-\u036f]")  # after Unicode decomposition; it does not decompose:
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe"})
# accompanists without a name ('and His Orchestra') and articles: they would join unrelated credits
_NOBODY = re.compile(
    r"the|band|orchestra|ensemble|trio|quartet|quintet|chorus|choir|friends|others|company|co|"
    r"family|sons|(his|her|their)( .*)?"
)


def artist_groups(credits: Sequence[str]) -> list[str]:
    """The group of each credit, named by the shortest credit in it; "" for an empty credit.

    A single word next to a comma, or a part of fewer than three letters, counts as an artist only
    if it is one in another credit: first names and initials do not join unrelated credits.
    """
    names = {credit: _names(credit) for credit in dict.fromkeys(credits) if credit.strip()}
    known = {name for sure, _ in names.values() for name in sure}
    artists = DisjointSet(known)
    for sure, unsure in names.values():
        for name in [*sure, *(name for name in unsure if name in known)]:
            artists.merge(name, sure[0])
    titles: dict[str, str] = {}
    for credit in sorted(names, key=lambda credit: (len(credit), credit)):
        titles.setdefault(artists[names[credit][0][0]], credit)
    return [titles[artists[names[credit][0][0]]] if credit in names else "" for credit in credits]


def _names(credit: str) -> tuple[list[str], list[str]]:
    """The names in a credit: the sure ones, first the whole name, and those that may be parts."""
    if not any(map(str.isalpha, credit)):
        return [credit.strip()], []  # a number, or "!!!"
    sure, unsure, whole = [], [], ""
    for side in _BETWEEN.split(credit):
        pieces = list(filter(None, map(_words, side.split(","))))
        for words in pieces:
            name = "".join(words)
            certain = len(words) > 1 or (len(pieces) == 1 and len(name) > 2)
            (sure if certain else unsure).append(name)
            whole += name
    return [whole or "".join(_plain(credit).split()), *sure], unsure


def _words(name: str) -> list[str]:
    """The words of a name without its article; empty if it names nobody."""
    plain = " ".join(_plain(name).split()).removeprefix("the ")
    return [] if _NOBODY.fullmatch(plain) else plain.split()


def _plain(text: str) -> str:
    """Letters, digits and spaces of a text, in lower case without accents."""
    text = _ACCENTS.sub("", normalize("NFKD", text.casefold())).translate(_LETTERS)
    return "".join(letter for letter in text if letter.isspace() or category(letter)[0] in "LMN")
