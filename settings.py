"""Every default of the suite: one line each, with its unit and its source. Edit freely.

You must set only the first line (or export MER_PATH_TO_DATA). To change any other line for one run,
use --set section.key=value in the shell, for example --set heads.units=256.

Sources: [paper] ICASSP 2021 as printed; [code] the authors' released system, where it differs
from the paper or adds to it; [ours] our choice, with the reason.
"""

import os

path_to_data = os.environ.get("MER_PATH_TO_DATA", "")  # folder that holds the corpora (see README)
path_to_models = os.environ.get("MER_PATH_TO_MODELS", "")  # holds models/, models_trans/; "": here

features = dict(
    sample_rate=16000,  # Hz [paper]
    n_fft=2048,  # samples [code]: librosa's default; the code sets only win_length
    win_length=1024,  # samples, Hann, centred in n_fft [paper]
    hop_length=512,  # samples [paper]
    n_mels=128,  # bands, Slaney [paper]; the networks' pooling needs a multiple of 64
    window_frames=31,  # frames, about 1 s [paper]
    window_hop=15,  # frames, about 50 % overlap [code]
)

dataset = dict(
    speech_hours=3.0,  # h drawn per speech data set [paper]: 3 or 30; 0 takes all
    music_hours=0.0,  # h drawn of music; 0 takes all; [paper] 3 in experiment 1
    test=0.30,  # share of the songs of each quadrant kept for the test [paper]
    val=0.15,  # share of the rest (music) or of all (speech) for validation [paper]
    max_lost=0.05,  # share of unusable recordings above which the stage fails [ours]
    max_cut=0.02,  # share of the length promised by a file's header that may be missing [ours]
    workers=0,  # processes for extraction and embed.py; 0: one per core
)

run = dict(
    iterations=1,  # independent runs it_0, it_1, … [ours]: one to start with; the paper averages 4
    first=0,  # number of the first run, for workflows that start each run separately [ours]
    seed=0,  # of all random draws; run n uses a seed derived from (seed, n) [ours]
    tag="",  # added to the names of transfer runs (--tag), to keep runs of other settings
    onnx=True,  # also save classifiers as model.onnx: predict.py then starts in a second [ours]
    figures=True,  # draw for every run: curves, confusions, reliability, reconstructions [ours]
)

scae = dict(
    noise=0.3,  # standard deviation of the Gaussian noise on the log-mel input [code]
    output_from_data=True,  # start the last batch norm at the data's mean and scale [ours]:
    #   from 0 and 1, as released, the first 30 epochs only learn the offset of the log-mel
)

cpc = dict(
    past=4,  # windows of context [paper]
    future=2,  # windows predicted [paper]
    code=256,  # dimensions of a window's code [code]
    context=256,  # units of the GRU [code]
    negatives="order",  # order: the true future, reordered [paper]; elsewhere: another sequence
)

framewise = dict(  # the light encoder of model_cpc_nce and model_over_mask
    latent=256,  # dimensions of the latent of two frames, and of a code [ours]
)

nce = dict(  # model_cpc_nce: CPC with InfoNCE (van den Oord 2018)
    stretch=64,  # frames of a training example, about 2 s [ours]
    steps=12,  # future latents to predict, each of two frames: 0.8 s [van den Oord]
    context=256,  # units of the GRU [van den Oord]
)

mask = dict(  # model_over_mask: hidden patches of the spectrogram (He 2022)
    mel=16,  # mel bands of a patch [ours]
    frames=8,  # frames of a patch [ours]
    share=0.5,  # of a window's patches that is hidden [ours]
    noise=0.3,  # standard deviation of the Gaussian noise on visible patches, as for the SCAE
)

network = dict(
    maps=32,  # of the first block or convolution [paper]; the second has twice as many, the
    #   third four times. Fewer maps make a small network for quick trials
    dropout=0.25,  # after every block and between the dense layers [code]
    momentum=0.7,  # of batch norm's moving statistics [ours]: with Keras's 0.99 they lag behind the
    #   weights for the first hundreds of steps, so validation measures another network
)

heads = dict(
    units=512,  # of every dense layer [code]; [paper] states 256 for the last two per task
    shared=3,  # dense layers shared by all tasks [code]
    own=2,  # dense layers of each task, before its softmax [code]
    code_dropout=0.0,  # dropout rate on the code [code]
)

pretrain = dict(
    epochs=100,  # at most [paper]
    batch_windows=128,  # windows per step [ours]: about the 4 utterances of [code]
    learning_rate=1e-3,  # [code]
    decay=4e-6,  # rate / (1 + decay x step) [code]
    schedule="plateau",  # of the rate [paper]; cosine: to 0 along half a cosine (Loshchilov 2017)
    keep="best",  # weights of the best validation loss [paper]; last: of the last epoch
)

transfer = dict(  # encoder frozen ("Feat. Ext."), and the baseline from scratch
    epochs=100,  # at most [paper]
    batch_windows=256,  # windows per step [ours]: about the 4 clips of [code]
    learning_rate=1e-3,  # [code]; [paper] states 1e-4
    decay=1e-4,  # rate / (1 + decay x step) [code]
    schedule="plateau",  # or cosine, as above
    keep="best",  # or last, as above
    encoder_iteration=-1,  # pretraining run to start from; -1: the one with the same number [ours]
    labels=1.0,  # share of the labelled clips for training and validation, the same in each
    #   quadrant; a larger share contains a smaller one [ours]
)

release = dict(  # everything trained further ("Full"), from the finished Feat. Ext. run
    epochs=100,  # at most [paper]
    batch_windows=256,  # windows per step [ours], as above
    learning_rate=5e-5,  # [code]; [paper] states 5e-4
    decay=1e-4,  # rate / (1 + decay x step) [code]
    schedule="plateau",  # or cosine, as above
    keep="best",  # or last, as above
    encoder_rate=1.0,  # the encoder's learning rate is multiplied by this (Howard 2018)
)

augment = dict(  # of the labelled windows, frozen and released; off by default, as published
    windows_per_epoch=0,  # drawn again in each epoch, evenly over the clips; 0: all windows [code]
    # the next five change the windows, so they apply only if the encoder is trained
    mel_shift=0,  # largest shift of a window up or down, in bands [ours]
    mel_masks=0,  # number of hidden groups of bands, SpecAugment (Park 2019)
    mel_width=24,  # bands of each group, at most [ours]
    time_masks=0,  # number of hidden groups of frames, SpecAugment
    time_width=8,  # frames of each group, at most [ours]
    smoothing=0.0,  # of the labels: share of a target spread over all classes (Szegedy 2016)
)

teacher = dict(  # codes that an encoder learns to predict while it is trained (--teacher)
    weight=3.0,  # of their squared error, added to the losses of the tasks [ours]
    dimensions=64,  # principal components to predict, at most [ours]
)

training = dict(
    amsgrad=True,  # Adam's variant [code]
    epsilon=1e-8,  # Adam's [code]
    plateau_epochs=5,  # epochs without a better validation loss before the rate is cut [paper]
    plateau_factor=0.5,  # the rate is multiplied by this [paper]
    stop_epochs=50,  # epochs without a better validation loss before training stops [paper]
    weight_decay=0.0,  # of kernels, decoupled (Loshchilov 2019): multiplied by the rate, per step
    predict_windows=128,  # windows per step when only predicting [ours]
    predict_dtype="float32",  # or bfloat16: test predictions and frozen codes are about 1.4 times
    #   as fast on CPUs with AVX-512 BF16, and differ by a few thousandths [ours]
    xla="auto",  # compile a step with XLA: on, off, auto (on for GPUs) [ours]: TensorFlow on CPUs
    #   is about four times slower with it
    threads=0,  # CPU threads [ours]; 0: as many as this process may use
    deterministic=False,  # the same seed and machine give the same weights (--deterministic)
    tensorboard=False,  # event files in the run directory (--tensorboard)
    checkpoint_seconds=0.0,  # s between saved states from which a killed run resumes [ours]; 0:
    #   after every epoch
    memory_gb=0.0,  # GB of frames held per split; a larger split is read by recording and shuffled
    #   in blocks of half this size [ours]; 0: a quarter of the machine's memory
    codes_gb=4.0,  # GB of frozen encoders' codes kept next to a data set [ours]; 0: none
)

# The settings of our own models. Values here override the sections above, and --set overrides both.
# The stage prints which of these values it uses.
# Chosen on folds of 400 clips of 4Q-Emotion.
_light = {
    "heads.units": 128,
    "heads.shared": 1,
    "heads.own": 0,
    "heads.code_dropout": 0.2,
    "network.dropout": 0.1,
    "augment.windows_per_epoch": 1600,
    "augment.mel_shift": 4,
    "transfer.epochs": 15,
    "transfer.batch_windows": 32,
    "transfer.schedule": "cosine",
    "transfer.keep": "last",
    "release.epochs": 15,
    "release.batch_windows": 32,
    "release.learning_rate": 1e-3,
    "release.schedule": "cosine",
    "release.keep": "last",
}
models = dict(
    model_cpc_nce={"pretrain.batch_windows": 32, **_light},
    model_over_mask={**_light},
)
