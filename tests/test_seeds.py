"""Random draws: repeatable, of one purpose each."""

import itertools

import numpy as np

from lib.seeds import Seeds


def draws(seeds):
    """The first number of every draw of a run, in its first three epochs and batches."""
    first = {"weights": seeds.weights, "figure": seeds.figure().integers(2**62)}
    first |= {f"labels {split}": seeds.labelled_clips(split).integers(2**62) for split in (0, 1)}
    for epoch in range(3):
        first[f"order {epoch}"] = seeds.order(epoch).integers(2**62)
        first[f"dropout {epoch}"] = seeds.dropout(epoch)
        for batch in range(3):
            first[f"batch {epoch} {batch}"] = seeds.batch(epoch, batch).integers(2**62)
    return first


def test_no_two_draws_share_a_stream():
    runs = [draws(Seeds(*run)) for run in itertools.product(range(5), range(5))]
    numbers = [number for run in runs for number in run.values()]
    assert len(numbers) == len(set(numbers)) == 25 * 19


def test_no_two_purposes_are_made_from_the_same_numbers(monkeypatch):
    """An integer and a generator of one stream differ, and share it all the same."""
    made, original = [], Seeds._stream

    def recorded(self, *key):
        made.append(key)
        return original(self, *key)

    monkeypatch.setattr(Seeds, "_stream", recorded)
    draws(Seeds(0))
    assert len(made) == len(set(made)) == 1 + 3 + 3 + 9


def test_a_draw_is_the_same_again_and_another_in_another_run():
    assert draws(Seeds(7, 3)) == draws(Seeds(7, 3))
    for other in (Seeds(3, 7), Seeds(7, 4), Seeds(8, 3)):
        assert not set(draws(Seeds(7, 3)).values()) & set(draws(other).values())


def test_all_iterations_share_their_splits():
    assert Seeds(5, 0).split == Seeds(5, 3).split != Seeds(6, 0).split


def test_weights_are_those_of_earlier_versions():
    """A finished run of random weights knows them by their digest."""
    expected = np.random.SeedSequence([7, 3]).generate_state(1)[0]
    assert Seeds(7, 3).weights == expected
