"""The encoders that need extra packages: their codes beside what the packages themselves compute.

openSMILE and TensorFlow corrupt each other in one process: what calls it runs in one of its own.
"""

import importlib.util
import json
import subprocess
import sys
import types

import librosa
import numpy as np
import pytest
import soundfile
from conftest import ROOT

from lib import configuration
from lib.datasets import codes_file
from lib.embedding import catalogue, embedding_stage
from lib.embedding.encoders import resemblyzer_voices
from lib.embedding.encoders.mel_power import mel_power
from lib.errors import UserError
from lib.features import audio_decoding

RATE = 16000


def needs(package):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed (requirements/encoders.txt, encoder_weights.txt)",
    )


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Harmonic tones with a beat, of 4, 6 and 13 seconds."""
    folder = tmp_path_factory.mktemp("songs")
    for seconds in (4, 6, 13):
        t = np.arange(RATE * seconds) / RATE
        tone = sum(np.sin(2 * np.pi * k * 110 * seconds * t) / k for k in range(1, 8))
        noise = np.random.default_rng(seconds).normal(0, 0.1, len(t))
        soundfile.write(folder / f"{seconds}.wav", 0.2 * (tone + noise) * np.exp(-4 * t % 1), RATE)
    return folder


def embedded(text, songs, target):
    """The codes file, and the samples of each recording."""
    encoder = catalogue.find(text, configuration.load())
    recordings = embedding_stage.recordings_of_folder(songs)
    embedding_stage.embed(encoder, recordings, target, max_cut=0.02)
    samples = [audio_decoding.read_audio(path, RATE) for path in recordings.values()]
    return codes_file.read(target), samples


def rows(codes, number):
    return codes.codes[codes.offsets[number] : codes.offsets[number + 1]]


@pytest.mark.parametrize("size", [100, 4096, 10**6])
@pytest.mark.parametrize(("n_fft", "hop", "n_mels"), [(512, 256, 96), (400, 160, 40)])
def test_mel_power_is_librosas_for_blocks_of_any_size(size, n_fft, hop, n_mels):
    samples = np.random.default_rng(0).uniform(-1, 1, 3 * RATE + 77).astype(np.float32)
    blocks = np.split(samples, range(size, len(samples), size))
    frames = np.concatenate(list(mel_power(blocks, RATE, n_fft=n_fft, hop=hop, n_mels=n_mels)))
    expected = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=n_fft, hop_length=hop, n_mels=n_mels
    )
    np.testing.assert_allclose(frames, expected.T, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs("opensmile")
@pytest.mark.parametrize(("name", "width"), [("eGeMAPSv02", 88), ("ComParE_2016", 6373)])
def test_opensmile_gives_its_functionals(songs, tmp_path, name, width):
    codes, samples = embedded(f"opensmile:{name}", songs, tmp_path / "x.codes")
    assert codes.codes.shape == (3, width) and codes.about.per == "recording"
    np.savez(tmp_path / "samples.npz", *samples)
    script = f"""
import numpy as np, opensmile
smile = opensmile.Smile(opensmile.FeatureSet.{name}, opensmile.FeatureLevel.Functionals)
stored = np.load("{tmp_path}/samples.npz")
scaled = [np.rint(stored[key] * 32767).clip(-32767, 32767) / 32768 for key in stored.files]
values = [smile.process_signal(s.astype(np.float32), {RATE}).to_numpy()[0] for s in scaled]
np.save("{tmp_path}/expected.npy", np.array(values, np.float32))
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    expected = np.load(tmp_path / "expected.npy")
    # rounded here, cut to 16 bits by the package: most values hardly differ, and a sample of 1
    # taken for -1 would change most of them
    alike = np.isclose(codes.codes, expected, rtol=0.02, atol=0.02)
    assert alike.mean() > 0.9


@pytest.mark.slow
@needs("opensmile")
def test_opensmile_takes_a_long_recording_in_parts(songs, tmp_path):
    script = f"""
import sys
sys.path.insert(0, "{ROOT}")
import numpy as np
from lib.embedding.encoders import opensmile_functionals
from lib.features import audio_decoding
encode = opensmile_functionals.load("eGeMAPSv02")
with audio_decoding.decoded("{songs}/13.wav", {RATE}) as sound:
    thirds = list(sound.blocks(-(-13 * 16000 // 3)))
    opensmile_functionals.LONGEST = 5
    parted = next(encode(sound))
class Part:
    seconds = 13 / 3
    def __init__(self, samples):
        self.part, self.samples = samples, len(samples)
    def blocks(self, size):
        yield self.part
parts = [next(encode(Part(part))) for part in thirds]
assert np.allclose(parted, np.mean(parts, axis=0), rtol=0.01, atol=0.01), parted - np.mean(parts, 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@needs("opensmile")
def test_opensmile_says_that_a_sound_is_too_short(tmp_path, capsys):
    soundfile.write(tmp_path / "short.wav", np.random.default_rng(0).uniform(-1, 1, 300), RATE)
    with pytest.raises(UserError, match="short: too short for openSMILE: 0.02 s"):
        embedded("opensmile:eGeMAPSv02", tmp_path, tmp_path / "x.codes")
    with pytest.raises(UserError, match="no feature set 'x' here: expected opensmile:ComParE_2016"):
        catalogue.find("opensmile:x", {})


@needs("resemblyzer")
def test_resemblyzer_takes_no_name_of_a_network():
    with pytest.raises(UserError, match="expected no :large after its name"):
        catalogue.find("resemblyzer:large", configuration.load())


@pytest.mark.slow
@needs("resemblyzer")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_resemblyzer_gives_the_partial_embeddings_of_its_package(songs, tmp_path, monkeypatch):
    codes, samples = embedded("resemblyzer", songs, tmp_path / "x.codes")
    for name in ("webrtcvad", "scipy.ndimage.morphology"):  # of the part that is not used
        module = types.ModuleType(name)
        module.binary_dilation = None
        monkeypatch.setitem(sys.modules, name, module)
    from resemblyzer import VoiceEncoder

    package = VoiceEncoder("cpu", verbose=False)
    for number, sound in enumerate(samples):
        _, expected, slices = package.embed_utterance(sound, return_partials=True)
        np.testing.assert_allclose(rows(codes, number), expected, atol=1e-4)
        starts = codes.start_seconds[codes.offsets[number] : codes.offsets[number + 1]]
        np.testing.assert_allclose(starts, [s.start / RATE for s in slices], atol=1e-4)


@pytest.mark.parametrize("samples", [1, 25600, 25601, 30000, 38000, 44800, 100_000])
def test_resemblyzers_last_partial_is_filled_where_most_of_it_is_sound(samples):
    padded = samples + len(resemblyzer_voices._padding(samples))
    partials = max(0, (padded // 160 - 160) // 77 + 1)
    last = (partials - 1) * 77 * 160
    assert partials >= 1 and (partials == 1 or samples - last >= 0.75 * 25600)
    assert samples - (last + 77 * 160) < 0.75 * 25600  # one more would have too little


@pytest.mark.slow
@needs("musicnn")
def test_musicnn_gives_the_penultimate_layer_of_its_graph(songs, tmp_path):
    """Its own code asks for layers of Keras 2, which tf-keras has."""
    pytest.importorskip("tf_keras")
    made = {}
    for name in ("musicnn", "musicnn:MSD"):  # in processes: tests before may fix random operators
        target = tmp_path / f"{len(made)}.codes"
        line = [sys.executable, "embed.py", "-i", songs, "-o", target, "--with", name]
        subprocess.run(line, check=True, cwd=ROOT)
        made[name] = codes_file.read(target)
    both, one = made["musicnn"], made["musicnn:MSD"]
    samples = [audio_decoding.read_audio(path, RATE) for path in sorted(songs.iterdir())]
    assert both.codes.shape == (1 + 2 + 4, 400) and one.codes.shape == (7, 200)
    np.testing.assert_allclose(both.codes[:, 200:], one.codes, atol=1e-5)
    np.testing.assert_allclose(one.start_seconds[:4], np.arange(4) * 2.992, atol=1e-5)
    soundfile.write(tmp_path / "x.wav", samples[0], RATE, subtype="FLOAT")
    script = f"""
import numpy as np
np.float16 = np.float32  # in which NumPy of 2019 multiplied by 10000; float16 overflows
from musicnn import configuration
configuration.BATCH_SIZE = 100  # of later batches it would give the first one's code again
from musicnn.extractor import extractor
for model in ("MTT_musicnn", "MSD_musicnn"):
    tags, names, features = extractor("{tmp_path}/x.wav", model=model)
    np.save("{tmp_path}/" + model + ".npy", features["penultimate"])
"""
    environment = {"TF_USE_LEGACY_KERAS": "1", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-Wignore", "-c", script], check=True, env=environment)
    expected = [np.load(tmp_path / f"{model}_musicnn.npy") for model in ("MTT", "MSD")]
    np.testing.assert_allclose(rows(both, 0), np.concatenate(expected, axis=1), atol=1e-3)


@needs("musicnn")
def test_musicnn_has_two_models(songs):
    with pytest.raises(UserError, match="no model 'vgg': expected musicnn:MTT, musicnn:MSD"):
        catalogue.find("musicnn:vgg", {})


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    """A folder of a tiny wav2vec2 with random weights."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hub") / "tiny-wav2vec2"
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    transformers.set_seed(0)
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n")
    return folder


@pytest.mark.slow
def test_a_folder_of_transformers_gives_the_mean_of_its_last_state(wav2vec2, songs, tmp_path):
    import torch
    import transformers

    codes, samples = embedded(f"hub:{wav2vec2}", songs, tmp_path / "x.codes")
    assert codes.about.name == "tiny_wav2vec2" and codes.about.licence == "apache-2.0"
    assert np.diff(codes.offsets).tolist() == [3, 1, 2]  # of 13, 4 and 6 s: 5 s each, the rest
    assert codes.start_seconds.tolist() == [0, 5, 10, 0, 0, 5]
    model = transformers.AutoModel.from_pretrained(wav2vec2).eval()
    for number, sound in enumerate(samples):
        for code, start in zip(rows(codes, number), range(0, len(sound), 5 * RATE), strict=True):
            part = sound[start : start + 5 * RATE]
            part = (part - part.mean()) / np.sqrt(part.var() + 1e-7)
            with torch.no_grad():
                hidden = model(torch.from_numpy(part)[None]).last_hidden_state[0]
            np.testing.assert_allclose(code, hidden.mean(axis=0), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("change", "said"), [
    (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), r"lacks \*.safetensors"),
    (lambda f: (f / "preprocessor_config.json").unlink(), "lacks preprocessor_config.json"),
    (lambda f: change_config(f, model_type="nobody_knows"), "cannot be loaded: .*nobody_knows"),
    (lambda f: change_config(f, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModel":
        "own.M"}), "cannot be loaded: .*expected a model that transformers knows"),
    (lambda f: change_config(f, model_type="bert", vocab_size=9), "takes input_ids: expected"),
])  # fmt: skip
def test_a_folder_that_is_no_model_of_sound_is_refused(wav2vec2, tmp_path, change, said):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in wav2vec2.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "own.py").write_text(f"open('{tmp_path}/ran', 'w')\n")
    change(folder)
    with pytest.raises(UserError, match=said):
        catalogue.find(f"hub:{folder}", {})
    assert not (tmp_path / "ran").exists()


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
