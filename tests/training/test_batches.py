"""Every window is served exactly once; a negative never equals its positive."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import settings as defaults
from lib.labels import TASKS
from lib.seeds import Seeds
from lib.training import batches, contrastive_batches, denoising_batches, labelled_batches

CLASSES = {task: len(names) for task, names in TASKS.items()}
MASK = {"noise": 0.3, "mel": 16, "frames": 8, "share": 0.5}
CPC = {"past": 4, "future": 2, "negatives": "order"}
NCE = {"stretch": 40, "steps": 5}


def served(dataset):
    """The batches, the last without what only fills it up."""
    all_ = [dataset[i] for i in range(len(dataset))]
    kept = dataset.items - (len(dataset) - 1) * dataset.size
    all_[-1] = keras.tree.map_structure(lambda part: part[:kept], all_[-1])
    return all_


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_window_is_served_once_with_its_labels(windows, size, shuffle):
    labels = windows.labels()
    weights = labelled_batches.balanced_weights(labels, CLASSES)
    data = labelled_batches.Labelled(
        windows, windows.take, weights, size, seeds=Seeds(3), shuffle=shuffle
    )
    x = np.concatenate([batch[0] for batch in served(data)])
    y = {task: np.concatenate([b[1][task] for b in served(data)]) for task in TASKS}
    w = {task: np.concatenate([b[2][task] for b in served(data)]) for task in TASKS}
    assert len(x) == len(windows)
    everything = windows.take(np.arange(len(windows)))
    key = {window.tobytes(): i for i, window in enumerate(everything)}
    order = np.array([key[window.tobytes()] for window in x])
    assert sorted(order) == list(range(len(windows)))
    assert (order.tolist() == sorted(order)) == (not shuffle)
    for task in TASKS:
        assert set(y[task].ravel()) <= {0, 1}
        classes = y[task].argmax(axis=1)
        np.testing.assert_array_equal(classes, labels[task][order])
        np.testing.assert_array_equal(w[task], weights[task][classes])


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_all_batches_have_one_shape_and_every_item_counts_once(windows, size):
    ones = {task: np.ones(n, np.float32) for task, n in CLASSES.items()}
    kinds = [
        labelled_batches.Labelled(windows, windows.take, ones, size, seeds=Seeds(3), shuffle=True),
        denoising_batches.DenoisingPairs(windows, MASK, size, seeds=Seeds(3), shuffle=True),
        contrastive_batches.Sequences(windows, CPC, size, seeds=Seeds(3), shuffle=True),
        denoising_batches.MaskedPairs(windows, MASK, size, seeds=Seeds(3), shuffle=True),
        contrastive_batches.Stretches(windows, NCE, size, seeds=Seeds(3), shuffle=True),
    ]
    for data in kinds:
        all_ = [data[i] for i in range(len(data))]
        shapes = [keras.tree.map_structure(np.shape, batch) for batch in all_]
        assert all(shape == shapes[0] for shape in shapes)
        weights = [
            batch[2]["arousal"] if isinstance(batch[2], dict) else batch[2] for batch in all_
        ]
        # of windows with a weight per value, the mean of those
        weights = [w.reshape(len(w), -1).mean(axis=1) for w in weights]
        assert sum(w.sum() for w in weights) == pytest.approx(data.items, rel=0.01)
        assert data.fill_factor == sum(len(w) for w in weights) / data.items
        filled = int((weights[-1] == 0).sum())
        if filled:  # with the first items of the epoch
            first, last = (keras.tree.map_structure(np.asarray, all_[i]) for i in (0, -1))
            if not isinstance(data, labelled_batches.Labelled):
                continue  # their noise and negatives are drawn anew
            np.testing.assert_array_equal(last[0][-filled:], first[0][:filled])


def test_augmentation_changes_the_windows_and_draws_fewer_per_epoch(windows):
    weights = labelled_batches.balanced_weights(windows.labels(), CLASSES)
    data = labelled_batches.Labelled(
        windows, windows.take, weights, 5, seeds=Seeds(3), shuffle=True
    )
    section = dict(defaults.augment, windows_per_epoch=14, smoothing=0.2)
    data.augment(section)
    whole = {window.tobytes() for window in windows.take(np.arange(len(windows)))}
    epochs = []
    for data.epoch in (0, 1):
        x = np.concatenate([batch[0] for batch in served(data)])
        epochs.append({window.tobytes() for window in x})
        assert len(x) == len(epochs[-1]) == data.items == 14
        assert np.isclose(data[0][1]["arousal"].max(axis=1), 0.9).all()
    assert epochs[0] != epochs[1] and epochs[0] | epochs[1] <= whole
    data.augment(section | {"mel_shift": 4})
    assert not {window.tobytes() for window in data[0][0]} <= whole


def test_weights_balance_the_classes(windows):
    labels = windows.labels()
    weights = labelled_batches.balanced_weights(labels, CLASSES)
    for task, values in labels.items():
        totals = [weights[task][values][values == c].sum() for c in range(CLASSES[task])]
        np.testing.assert_allclose(totals, len(values) / CLASSES[task], rtol=1e-5)
    missing = labelled_batches.balanced_weights({"arousal": np.zeros(4, int)}, {"arousal": 2})
    assert missing["arousal"].tolist() == [0.5, 0]


def test_order_depends_on_seed_and_epoch_alone(windows):
    def order(seed, epoch):
        data = batches.Inputs(lambda index: index, len(windows), 5)
        data.seeds, data.epoch, data.shuffle = Seeds(seed), epoch, True
        return np.concatenate([batch[0] for batch in served(data)]).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(s, e)) for s in (1, 2) for e in (0, 1)}) == 4


def test_denoising_pairs(windows):
    data = denoising_batches.DenoisingPairs(windows, MASK, 32, seeds=Seeds(0))
    noisy, clean, _ = data[0]
    np.testing.assert_array_equal(clean, windows.take(np.arange(32)))
    noise = noisy - clean
    assert noise.std() == pytest.approx(0.3, rel=0.02) and abs(noise.mean()) < 0.01
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(data[0][0], noisy)  # validation sees the same noise every epoch
    moving = denoising_batches.DenoisingPairs(
        windows, MASK, len(windows), seeds=Seeds(0), shuffle=True
    )
    first = moving[0][0]
    moving.epoch = 1
    assert not np.array_equal(np.sort(first, axis=None), np.sort(moving[0][0], axis=None))


def test_what_a_batch_draws_is_other_in_the_next_epoch(windows):
    data = denoising_batches.DenoisingPairs(windows, MASK, 8, seeds=Seeds(0), shuffle=True)
    noise = []
    for data.epoch in (0, 1):
        noisy, clean, _ = data[0]
        noise.append(noisy - clean)
    assert abs(noise[0] - noise[1]).mean() > 0.1


def truth(windows):
    """First window -> the six windows of its sequence."""
    starts = contrastive_batches.sequence_starts(windows.recording, 6)
    return {windows.take(np.array([s])).tobytes(): windows.take(s + np.arange(6)) for s in starts}


@pytest.mark.parametrize("negatives", ["order", "elsewhere"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_negatives_never_equal_their_positives(windows, negatives, shuffle):
    data = contrastive_batches.Sequences(
        windows, CPC | {"negatives": negatives}, 3, seeds=Seeds(1), shuffle=shuffle
    )
    sequences = truth(windows)
    assert len(sequences) == data.items > 4
    for data.epoch in range(4):
        x = np.concatenate([batch[0] for batch in served(data)])
        follows = np.concatenate([batch[1] for batch in served(data)])[:, 0]
        assert len(x) == data.items
        assert len({sequence[0].tobytes() for sequence in x}) == data.items
        assert abs(follows.mean() - 0.5) <= 0.5 / data.items + 1e-9
        for sequence, label in zip(x, follows, strict=True):
            true = sequences[sequence[0].tobytes()]
            np.testing.assert_array_equal(sequence[:4], true[:4])
            assert np.array_equal(sequence[4:], true[4:]) == bool(label), data.epoch
            if not label and negatives == "order":
                np.testing.assert_array_equal(sequence[4:], true[[5, 4]])


def test_a_repeating_future_takes_its_negative_from_elsewhere(windows):
    frames = windows.frames.copy()
    start, length = int(windows.starts[windows.recording == 7][0]), 300
    frames[start : start + length] = frames[start]  # the last recording repeats one frame
    data = contrastive_batches.Sequences(replace(windows, frames=frames), CPC, 100, seeds=Seeds(0))
    x, follows, _ = data[0]
    for sequence in x[follows[:, 0] == 0]:
        repeating = np.array_equal(sequence[0], sequence[1])
        assert not (repeating and np.array_equal(sequence[4], sequence[0]))
    constant = replace(windows, frames=np.zeros_like(frames))
    assert contrastive_batches.Sequences(constant, CPC, 100)[0][1].min() == 1  # no negative exists


def test_sequences_stay_within_a_recording():
    recording = np.repeat([0, 1, 2], [5, 13, 6])
    assert contrastive_batches.sequence_starts(recording, 6).tolist() == [5, 11, 18]


def test_stretches_are_of_one_recording_and_move_from_epoch_to_epoch(windows):
    total = windows.frames.shape[0]
    numbered = replace(
        windows, frames=np.arange(total, dtype=np.float32)[:, None] * np.ones((1, 128), np.float32)
    )
    starts = np.concatenate([[0], np.cumsum(windows.table["length"])])
    data = contrastive_batches.Stretches(numbered, NCE, 4, seeds=Seeds(2), shuffle=True)
    assert data.items == sum(n // 40 for n in windows.table["length"])  # those of 31 have none
    seen = []
    for data.epoch in (0, 1):
        x, true, weights = zip(*[data[i] for i in range(len(data))], strict=True)
        frames = np.concatenate([one["log_mel"] for one in x])[:, 0, :, 0].astype(int)
        assert (np.diff(frames, axis=1) == 1).all()
        owner = np.searchsorted(starts, frames, side="right")
        assert (owner == owner[:, :1]).all()
        seen.append(frames[:, 0].tolist())
        assert true[0].shape == (4, 15, 5)
        # the latent k + 1 after anchor a, of the same stretch: 20 latents each
        assert true[0][2, 3].tolist() == [2 * 20 + 3 + 1 + k for k in range(5)]
        assert all(w.shape == true[0].shape for w in weights)
    assert sorted(seen[0]) != sorted(seen[1])
    still = contrastive_batches.Stretches(numbered, NCE, 4)
    assert still[0][0]["log_mel"][:, 0, 0, 0].astype(int).tolist() == [31, 77, 138, 178]


def test_latents_of_the_same_frames_are_the_same_sound(windows):
    frames = windows.frames.copy()
    first = int(windows.table["length"][:4].sum())  # of a recording of 136 frames
    frames[first + 10 : first + 20] = -16.0  # silence
    frames[first + 30 : first + 34] = frames[first + 34 : first + 38]  # two latents again
    data = contrastive_batches.Stretches(replace(windows, frames=frames), NCE, 100)
    row = list(data.source.starts).index(first)
    sounds = data[0][0]["sounds"][row]
    assert len(set(sounds[5:10])) == 1
    assert sounds[15] == sounds[17] and sounds[16] == sounds[18] and sounds[15] != sounds[16]
    assert len(set(sounds)) == 20 - 4 - 2


def test_a_lesson_is_of_the_same_windows_and_has_its_weight(windows):
    ones = {task: np.ones(len(classes), np.float32) for task, classes in TASKS.items()}
    data = labelled_batches.Labelled(windows, windows.take, ones, 4)
    targets = np.arange(2 * len(windows), dtype=np.float32).reshape(-1, 2)
    data.add_targets("lesson", targets, 3.0)
    index, counts = np.array([5, 2, 2]), np.array([1, 1, 0], np.float32)  # the last one fills up
    _, y, weights = data.load(index, counts, None)
    np.testing.assert_array_equal(y["lesson"], targets[[5, 2, 2]])
    assert weights["lesson"].tolist() == [3, 3, 0] and weights["arousal"].tolist() == [1, 1, 0]
