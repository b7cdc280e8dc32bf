"""CPC with a contrast over all latents of a batch (`model_cpc_nce`; van den Oord 2018, sec. 2.3).

A GRU summarises the latents of a stretch of sound up to an anchor. One linear map per step predicts
from this summary the latents 1 to `steps` later. Each prediction must pick the true latent among
all latents of the batch: those at other times of the same stretch and those of other recordings.
"""

from __future__ import annotations

import keras

from lib.models import framewise_encoder
from lib.models.convolutional_blocks import PUBLISHED, Sizes

NEVER = -1e9  # the score of a latent that is not a candidate


def scores(
    predictions: keras.KerasTensor, latents: keras.KerasTensor, sounds: keras.KerasTensor
) -> keras.KerasTensor:
    """The score of every latent of a batch, for every prediction.

    predictions : float32 (batch, anchors, steps, d); anchor a predicts at step k (from 0) the
        latent a + k + 1
    latents : float32 (batch, length, d)
    sounds : int32 (batch, length); latents of the same sound (silence, a copy) have the same number

    Returns float32 (batch, anchors, steps, batch * length): dot products divided by the square root
    of d. A latent of the same sound as the true one is not a negative: it is left out.
    """
    ops = keras.ops
    anchors, steps, d = predictions.shape[1:]
    length = latents.shape[1]
    candidates = ops.reshape(latents, (-1, d))
    products = ops.einsum("bakd,nd->bakn", predictions, candidates) / d**0.5
    number = ops.reshape(sounds, (-1,))
    place = ops.cumsum(ops.ones_like(number)) - 1

    def of_true_latent(values: keras.KerasTensor) -> keras.KerasTensor:
        values = ops.reshape(values, (-1, length))
        return ops.stack([values[:, k + 1 : k + 1 + anchors] for k in range(steps)], axis=2)

    same = ops.equal(of_true_latent(number)[..., None], number)
    other = ops.not_equal(of_true_latent(place)[..., None], place)
    return ops.where(ops.logical_and(same, other), NEVER, products)


def build(
    sizes: Sizes = PUBLISHED,
    *,
    latent: int = 256,
    stretch: int = 64,
    steps: int = 12,
    context: int = 256,
) -> tuple[keras.Model, keras.Model]:
    """The contrastive model and its encoder, sharing weights.

    The model maps {"log_mel": (batch, n_mels, stretch, 1), "sounds": int32 (batch, length)}, length
    = ceil(stretch / STRIDE), to the scores of `scores`, with length - steps anchors.

    latent, context : dimensions of a latent, units of the GRU
    stretch : frames of a training example
    steps : how far ahead the model predicts, in latents

    Returns (model, encoder).
    """
    latents = framewise_encoder.build_latents(sizes, latent)
    length = -(-stretch // framewise_encoder.STRIDE)
    anchors = length - steps
    log_mel = keras.Input((sizes.n_mels, stretch, 1), name="log_mel")
    sounds = keras.Input((length,), dtype="int32", name="sounds")
    z = keras.layers.Reshape((length, latent), name="z")(latents(log_mel))
    summary = keras.layers.GRU(context, return_sequences=True, name="context")(z)
    predict = keras.layers.Dense(steps * latent, use_bias=False, name="predict")
    predicted = predict(summary[:, :anchors])
    predicted = keras.layers.Reshape((anchors, steps, latent), name="predictions")(predicted)
    inputs = {"log_mel": log_mel, "sounds": sounds}
    model = keras.Model(inputs, scores(predicted, z, sounds), name="cpc_nce")
    return model, framewise_encoder.encoder(latents, sizes.frames)
