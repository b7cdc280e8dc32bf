"""Figures show what they are given, where it belongs."""

import numpy as np

from lib.figures import saving


def test_rows_of_a_confusion_are_the_true_classes():
    _, axis = saving.panels(1, 1, figsize=(2, 2))
    counts = np.array([[8, 2], [0, 5]])
    saving.draw_confusion(axis, counts, counts / 10)
    texts = {text.get_position(): text.get_text() for text in axis.texts}
    assert texts[1, 0] == "0.20\n(2)" and texts[0, 1] == "0.00\n(0)"  # x, y
