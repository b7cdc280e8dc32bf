"""Spellings of one artist are one group; names that only look alike are not."""

import pytest

from lib.corpora.artists import artist_groups

ONE = [
    ["Ella", "Ella feat. Louis", "Ella ft. Louis", "Ella featuring Louis", "Ella (feat. Louis)"],
    ["Ella", "Ella & Louis", "Ella and Louis", "Ella, Louis", "Louis & Ella", "Ella with Louis"],
    ["The Jam", "Jam", "the jam", "THE JAM", "Jam, The", "The  Jam "],
    ["Beyoncé", "Beyonce", "BEYONCÉ", "Beyonce\u0301", "Jay-Z & Beyonce", "JAY Z"],
    ["Motörhead", "Motorhead"],
    ["Røyksopp", "Royksopp"],
    ["AC/DC", "AC-DC", "Ac Dc", "AC⁄DC"],
    ["T.I.", "TI", "Rihanna feat. T.I.", "Rihanna"],
    ["Eddie Heywood", "Eddie Heywood and His Orchestra", "Eddie Heywood & His Band"],
    ["Earth, Wind & Fire", "Earth Wind and Fire", "Earth, Wind and Fire"],
    ["Crosby, Stills & Nash", "Crosby, Stills, Nash & Young"],
    ["Bob Marley", "Bob Marley & The Wailers", "The Wailers"],
    ["Rihanna feat. Drake", "Drake vs. Future", "Future/Metro Boomin", "Metro Boomin"],
    ["A", "A feat. B", "B", "B, C", "C"],
    ["久石譲", "久石譲 & London Symphony Orchestra"],
    ["!!!", "!!!"],
]
STRANGERS = [
    ["Beatles, The", "Jam, The", "The The", "Who, The"],
    ["Cash, Johnny", "Mathis, Johnny"],
    ["J. & K. Smith", "J. & L. Jones", "J & M"],
    ["Eddie Heywood and His Orchestra", "Jay McShann & His Orchestra", "Xavier & the Orchestra"],
    ["Bob Dylan & The Band", "The Band", "Big Band"],
    ["Dion", "Céline Dion"],
    ["Paul Simon", "Simon & Garfunkel"],
    ["Rose", "Rosé Wine", "Andy", "Withers", "Feather", "ftm"],
    ["!!!", "???", "1.2", "12", "1-2"],
    ["हरि", "हरे"],
]


@pytest.mark.parametrize("credits", ONE, ids=lambda credits: credits[0])
def test_spellings_of_one_artist_are_one_group(credits):
    for order in (credits, credits[::-1]):
        assert set(artist_groups(order)) == {min(credits, key=lambda c: (len(c), c))}
    assert len(set(artist_groups([*credits, "Nina Simone"]))) == 2


@pytest.mark.parametrize("credits", STRANGERS, ids=lambda credits: credits[0])
def test_strangers_stay_apart(credits):
    assert artist_groups(credits) == credits


def test_a_credit_may_be_missing():
    assert artist_groups(["", "Enya", " ", "enya"]) == ["", "Enya", "", "Enya"]
    assert artist_groups([]) == []


def test_every_credit_is_in_one_group_whatever_else_there_is():
    """Strangers of all tests together: none of them brings two others together."""
    every = [credit for credits in STRANGERS for credit in dict.fromkeys(credits)]
    groups = artist_groups(every)
    assert groups == every
