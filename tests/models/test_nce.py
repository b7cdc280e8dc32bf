"""InfoNCE on a case done by hand; what is no negative; gradients; nothing leaks."""

import keras
import numpy as np
import pytest

from lib.models import cpc_infonce, masked_denoiser
from lib.models.convolutional_blocks import Sizes
from lib.seeds import Seeds
from lib.training import contrastive_batches, denoising_batches


def hand_case():
    """Two recordings of three latents of two dimensions, one anchor, steps 1 and 2."""
    latents = np.array([[[1, 0], [0, 1], [1, 1]], [[2, 0], [0, 2], [1, -1]]], np.float32)
    predictions = np.array([[[[1, 0], [0, 1]]], [[[2, 1], [0, 3]]]], np.float32)
    return predictions, latents


def scores(predictions, latents, sounds):
    result = cpc_infonce.scores(
        *(keras.ops.convert_to_tensor(a) for a in (predictions, latents)),
        keras.ops.convert_to_tensor(np.asarray(sounds, np.int32)),
    )
    return keras.ops.convert_to_numpy(result)


def test_scores_are_products_with_every_latent_of_the_batch():
    predictions, latents = hand_case()
    result = scores(predictions, latents, [[0, 1, 2], [3, 4, 5]])
    assert result.shape == (2, 1, 2, 6)
    # prediction (1, 0) with (1,0) (0,1) (1,1) (2,0) (0,2) (1,-1), over the root of two
    np.testing.assert_allclose(result[0, 0, 0], np.array([1, 0, 1, 2, 0, 1]) / 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(result[1, 0, 1], np.array([0, 3, 3, 0, 6, -3]) / 2**0.5, rtol=1e-6)


def test_loss_is_the_negative_logarithm_of_the_share_of_the_true_latent():
    predictions, latents = hand_case()
    result = scores(predictions, latents, [[0, 1, 2], [3, 4, 5]])
    true = np.array([[[1, 2]], [[4, 5]]])  # step 1 and 2 of the anchor at 0 of either recording
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(true, result)
    by_hand = []
    for b, k, n in ((0, 0, 1), (0, 1, 2), (1, 0, 4), (1, 1, 5)):
        e = np.exp(predictions[b, 0, k] @ latents.reshape(6, 2).T / 2**0.5)
        by_hand.append(-np.log(e[n] / e.sum()))
    assert float(loss) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_a_latent_of_the_same_sound_is_no_negative_of_itself():
    predictions, latents = hand_case()
    # the true latent of recording 0, step 1 (place 1) sounds like place 0 and place 5
    result = scores(predictions, latents, [[1, 1, 2], [3, 4, 1]])
    assert (result[0, 0, 0] == np.float32(cpc_infonce.NEVER)).tolist() == [True, False, False] + [
        False,
        False,
        True,
    ]
    assert (result[0, 0, 1] > cpc_infonce.NEVER).all()  # its step 2 is alone with its sound
    assert (result[1, 0, 1] == np.float32(cpc_infonce.NEVER)).tolist() == [True, True] + [False] * 4


def small():
    sizes = Sizes(n_mels=64, frames=8, dropout=0.0)
    return cpc_infonce.build(sizes, latent=8, stretch=16, steps=2, context=6)


def batch(windows, size=4):
    return contrastive_batches.Stretches(windows, {"stretch": 16, "steps": 2}, size)[0]


def test_gradient_reaches_every_weight_of_the_encoder():
    model, encoder = small()
    rng = np.random.default_rng(0)
    x = {
        "log_mel": rng.normal(-3, 2, (4, 64, 16, 1)).astype(np.float32),
        "sounds": np.arange(32, dtype=np.int32).reshape(4, 8),
    }
    anchors = np.arange(6)[:, None] + 1 + np.arange(2)
    true = (np.arange(4)[:, None, None] * 8 + anchors).astype(np.int32)
    before = [w.copy() for w in encoder.get_weights()]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(x, true)
    after = encoder.get_weights()
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert len(moved) == 16 and all(moved)


def test_no_later_frame_and_no_other_recording_leaks_into_a_prediction():
    model, _ = small()
    predict = keras.Model(model.input, model.get_layer("predictions").output)
    rng = np.random.default_rng(0)
    log_mel = rng.normal(-3, 2, (2, 64, 16, 1)).astype(np.float32)
    sounds = np.arange(16, dtype=np.int32).reshape(2, 8)

    def of(changed):
        return predict.predict_on_batch({"log_mel": changed, "sounds": sounds})

    first = of(log_mel)
    other = log_mel.copy()
    other[1] += 5
    np.testing.assert_allclose(of(other)[0], first[0], atol=1e-5)
    later = log_mel.copy()
    later[0, :, -1] += 5  # the convolutions see a few frames ahead, the GRU none
    np.testing.assert_allclose(of(later)[0, :3], first[0, :3], atol=1e-5)


def test_encoders_keep_the_contract_and_are_small():
    for model, encoder in (cpc_infonce.build(), masked_denoiser.build()):
        assert encoder.input_shape == (None, 128, 31, 1)
        assert encoder.output_shape == (None, 256)
        assert encoder.count_params() < 500_000
        assert model.count_params() > encoder.count_params()


def test_a_mask_that_hides_is_what_the_masked_denoiser_is_scored_on(windows):
    section = {"noise": 0.0, "mel": 16, "frames": 8, "share": 0.5}
    pairs = denoising_batches.MaskedPairs(windows, section, 8, seeds=Seeds(1))
    seen, clean, weights = pairs[0]
    hidden = weights > 0
    assert seen.shape == clean.shape and weights.shape == clean.shape[:3]
    np.testing.assert_array_equal(seen[..., 0][~hidden], clean[..., 0][~hidden])
    means = np.broadcast_to(clean.mean(axis=(1, 2, 3))[:, None, None], hidden.shape)
    np.testing.assert_allclose(seen[..., 0][hidden], means[hidden], rtol=1e-5)
    assert 0.4 < hidden.mean() < 0.6
    # the weighted mean over all values is the mean over the hidden ones
    error = np.square(clean[..., 0] - seen[..., 0])
    assert (error * weights).mean() == pytest.approx(error[hidden].mean(), rel=1e-4)
