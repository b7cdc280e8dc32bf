"""CPC with a proper contrast (`model_cpc_nce`; van den Oord 2018, sec. 2.3).

A GRU sums up the latents of a stretch of sound up to some moment; a linear map per step predicts
from that the latents 1 to `steps` later, and each prediction has to pick the true latent among all
latents of the batch: those of other moments of the same stretch and of other recordings.
"""

from __future__ import annotations

import keras

from lib.models import framewise_encoder

NEVER = -1e9  # the score of what is no candidate


def scores(
    predictions: keras.KerasTensor, latents: keras.KerasTensor, sounds: keras.KerasTensor
) -> keras.KerasTensor:
    """The score of every latent of a batch, for every prediction.

    Parameters
    ----------
    predictions : float32 (batch, anchors, steps, d); that of anchor a and step k (from 0) is of the
        latent a + k + 1
    latents : float32 (batch, length, d)
    sounds : int32 (batch, length); latents of the same sound (silence, a copy) have the same number

    Returns float32 (batch, anchors, steps, batch * length): products over the square root of d. A
    latent of the same sound as the true one is no negative: it is left out.
    """
    ops = keras.ops
    anchors, steps, d = predictions.shape[1:]
    length = latents.shape[1]
    candidates = ops.reshape(latents, (-1, d))
    products = ops.einsum("bakd,nd->bakn", predictions, candidates) / d**0.5
    number = ops.reshape(sounds, (-1,))
    place = ops.cumsum(ops.ones_like(number)) - 1

    def of_the_true(values):
        values = ops.reshape(values, (-1, length))
        return ops.stack([values[:, k + 1 : k + 1 + anchors] for k in range(steps)], axis=2)

    same = ops.equal(of_the_true(number)[..., None], number)
    other = ops.not_equal(of_the_true(place)[..., None], place)
    return ops.where(ops.logical_and(same, other), NEVER, products)


def build(
    *,
    n_mels: int = 128,
    frames: int = 31,
    stretch: int = 64,
    steps: int = 12,
    latent: int = 256,
    context: int = 256,
    dropout: float = 0.25,
) -> tuple[keras.Model, keras.Model]:
    """The contrastive model and its encoder, sharing weights.

    The model maps {"log_mel": (batch, n_mels, stretch, 1), "sounds": int32 (batch, length)}, length
    = ceil(stretch / framewise.STRIDE), to scores as of `scores`, with length - steps anchors.

    Parameters
    ----------
    n_mels, frames : size of an encoder's window
    stretch : frames of a training example
    steps : how far ahead is predicted, in latents
    latent, context : dimensions of a latent, units of the GRU
    dropout : rate after each convolution

    Returns (model, encoder).
    """
    each = framewise_encoder.latents(n_mels=n_mels, latent=latent, dropout=dropout)
    length = -(-stretch // framewise_encoder.STRIDE)
    log_mel = keras.Input((n_mels, stretch, 1), name="log_mel")
    sounds = keras.Input((length,), dtype="int32", name="sounds")
    z = each(log_mel)
    z = keras.layers.Reshape((length, latent), name="z")(z)
    summary = keras.layers.GRU(context, return_sequences=True, name="context")(z)
    anchors = length - steps
    predicted = keras.layers.Dense(steps * latent, use_bias=False, name="predict")(
        summary[:, :anchors]
    )
    predicted = keras.layers.Reshape((anchors, steps, latent), name="predictions")(predicted)
    inputs = {"log_mel": log_mel, "sounds": sounds}
    model = keras.Model(inputs, scores(predicted, z, sounds), name="cpc_nce")
    return model, framewise_encoder.encoder(each, frames=frames)
