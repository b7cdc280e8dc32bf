"""Builders: shapes, parameter counts by hand, save and load, names."""

import keras
import numpy as np
import pytest

from lib.labels import TASKS
from lib.models import cnn, cpc, cpc_infonce, emotion_heads, masked_denoiser, scae
from lib.models.convolutional_blocks import Sizes
from lib.models.emotion_heads import HeadSizes


def conv(kernels, inputs, outputs):
    return kernels * inputs * outputs + outputs


# batch norm has 4 numbers per channel: scale, offset, moving mean and variance
TRUNK = 4 + sum(
    conv(9, a, b) + conv(9, b, b) + 2 * 4 * b for a, b in ((1, 32), (32, 64), (64, 128))
)
DECODER = (
    (2 * conv(9, 128, 128) + 2 * 4 * 128)
    + (conv(9, 128, 64) + conv(9, 64, 64) + 2 * 4 * 64)
    + (conv(9, 64, 32) + 4 * 32 + conv(9, 32, 1) + 4)
)
CPC_ENCODER = TRUNK + conv(1, 4 * 31 * 128, 256) + 4 * 256 + conv(1, 256, 256)
GRU = 3 * (256 * 256 + 256 * 256 + 2 * 256)
FLAT = 2 * 31 * 128


def head_count(inputs, units=512):
    shared = conv(1, inputs, units) + 2 * conv(1, units, units)
    return shared + sum(2 * conv(1, units, units) + conv(1, units, n) for n in (4, 2, 2))


def test_parameter_counts():
    model, encoder = scae.build()
    assert encoder.count_params() == TRUNK == 288_228
    assert model.count_params() == TRUNK + DECODER == 714_537
    model, encoder = cpc.build()
    assert encoder.count_params() == CPC_ENCODER == 4_418_532
    assert model.count_params() == CPC_ENCODER + GRU + 2 * conv(1, 256, 256) == 4_944_868
    assert cnn.build_encoder().count_params() == TRUNK
    assert emotion_heads.build(FLAT, TASKS).count_params() == head_count(FLAT) == 6_169_096
    assert emotion_heads.build(256, TASKS).count_params() == head_count(256)


def test_encoders_keep_the_contract():
    for encoder, size in (
        (scae.build_encoder(), FLAT),
        (cnn.build_encoder(), FLAT),
        (cpc.build_encoder(), 256),
    ):
        assert encoder.input_shape == (None, 128, 31, 1)
        assert encoder.output_shape == (None, size)


@pytest.mark.parametrize("build", [
    scae.build, cpc.build, cpc_infonce.build, masked_denoiser.build,
    lambda sizes: [cnn.build_encoder(sizes)],
])  # fmt: skip
def test_networks_can_be_narrow(build):
    models = build(Sizes(n_mels=64, frames=5, maps=(4, 8, 16)))
    assert models[-1].input_shape == (None, 64, 5, 1)
    layers = [x for model in models for x in model._flatten_layers()]
    convolutions = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    maps = {x.name: x.filters for x in layers if isinstance(x, convolutions)}
    assert set(maps.values()) - {1} == {4, 8, 16} and len(maps) in (3, 6, 12)


def batch(*shape):
    return np.random.default_rng(0).normal(-5, 2, shape).astype(np.float32)


def classifier():
    encoder = scae.build_encoder()
    heads = emotion_heads.build(encoder.output_shape[-1], TASKS, HeadSizes(units=16))
    return emotion_heads.classifier(encoder, heads)


MODELS = {
    "scae": (lambda: scae.build(output_mean=-5, output_scale=2)[0], (3, 128, 31, 1)),
    "cpc": (lambda: cpc.build()[0], (3, 6, 128, 31, 1)),
    "cpc of other sizes": (lambda: cpc.build(past=3, future=3, code=8)[0], (2, 6, 128, 31, 1)),
    "cnn": (cnn.build_encoder, (3, 128, 31, 1)),
    "classifier": (classifier, (3, 128, 31, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_save_and_load_give_the_same_outputs(name, tmp_path):
    build, shape = MODELS[name]
    keras.utils.set_random_seed(0)
    model, x = build(), batch(*shape)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    before, after = model(x, training=False), loaded(x, training=False)
    if not isinstance(before, dict):
        before, after = {"": before}, {"": after}
    assert list(before) == list(after)
    for key in before:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (before[key], after[key])))


def test_scae_gives_back_windows_in_the_range_it_starts_from():
    model, _ = scae.build(output_mean=-5, output_scale=2)
    output = keras.ops.convert_to_numpy(model(batch(4, 128, 31, 1), training=False))
    assert output.shape == (4, 128, 31, 1)
    assert -5 < output.min() and output.max() < -3  # a sigmoid, times 2, minus 5


def test_cpc_score_is_the_mean_agreement_of_prediction_and_code():
    keras.utils.set_random_seed(1)
    model, encoder = cpc.build()
    x = batch(2, 6, 128, 31, 1)
    codes = keras.ops.convert_to_numpy(encoder(x.reshape(-1, 128, 31, 1), training=False)).reshape(
        2, 6, 256
    )
    context = keras.ops.convert_to_numpy(model.get_layer("context")(codes[:, :4]))
    agreement = np.mean(
        [
            np.mean(
                keras.ops.convert_to_numpy(model.get_layer(f"predict_{k + 1}")(context))
                * codes[:, 4 + k],
                -1,
            )
            for k in range(2)
        ],
        axis=0,
    )
    score = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(score[:, 0], 1 / (1 + np.exp(-agreement)), atol=1e-5)


def test_heads_name_their_outputs_and_sum_to_one():
    model = emotion_heads.build(10, TASKS, HeadSizes(units=8))
    outputs = model(batch(5, 10), training=False)
    assert {task: tuple(p.shape) for task, p in outputs.items()} == {
        "quadrants": (5, 4),
        "arousal": (5, 2),
        "valence": (5, 2),
    }
    for p in outputs.values():
        np.testing.assert_allclose(keras.ops.convert_to_numpy(p).sum(axis=1), 1, atol=1e-5)
    assert {"shared_fc1", "arousal_fc2", "quadrants", "valence"} <= {x.name for x in model.layers}


def test_batch_norm_is_over_channels():
    norms = [x for x in scae.build()[0].get_layer("scae_encoder").layers if "_b" in x.name]
    assert [layer.gamma.shape[0] for layer in norms] == [1, 32, 32, 64, 64, 128, 128]
