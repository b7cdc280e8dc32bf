"""The pretraining stage, without training: its lock, and what its objectives serve."""

import pytest

from lib import configuration
from lib.artefacts import files
from lib.artefacts.run_name import RunName
from lib.errors import UserError
from lib.pretraining import pretraining_stage
from lib.pretraining.pretraining_stage import OBJECTIVES, Part
from lib.seeds import Seeds


def test_a_run_that_another_process_works_on_is_not_trained(windows, tmp_path, monkeypatch):
    settings = configuration.load()
    settings["paths"]["models"] = str(tmp_path)
    monkeypatch.setattr(pretraining_stage, "_parts", lambda *_: [Part(None, windows, windows)])
    monkeypatch.setattr(pretraining_stage, "_pretrain_once", lambda *_: pytest.fail("trained"))
    with files.locked(RunName("model_cpc", "pretrain", "e").path(tmp_path)):
        with pytest.raises(UserError, match="another process is working on .*model_cpc.it_0"):
            pretraining_stage.pretrain("model_cpc", ("speech", "e"), settings, tmp_path)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_is_shuffled_and_validation_the_same_in_every_epoch(windows, name):
    settings = configuration.load()
    for shuffle in (True, False):
        batches = OBJECTIVES[name].batches(settings, windows, seeds=Seeds(0), shuffle=shuffle)
        assert batches.shuffle is shuffle
