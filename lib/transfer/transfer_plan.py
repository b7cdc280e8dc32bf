"""Turn flags into a plan: what a transfer trains, from which encoder, in which runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib.artefacts.run_name import RunName
from lib.console import say
from lib.errors import UserError
from lib.models import catalogue

if TYPE_CHECKING:
    from pathlib import Path

    from lib.datasets.code_source import CodeSource
    from lib.datasets.folds import Folds
    from lib.transfer.recipes import Recipe

TAUGHT = ("scratch", "full")  # steps that train an encoder, so that a teacher can help


@dataclass(frozen=True)
class TransferPlan:
    """What a transfer does.

    model  : name of the encoder, of a baseline, or of codes from files
    speech : what the encoder is pretrained on, a letter of lib.labels.SOURCES; "n": random weights;
             "c": codes from files
    music  : "e" or "m"
    steps  : in their order:
             ("scratch",)           encoder and heads together, from random weights
             ("feat_ext",)          the heads, on codes of the frozen encoder
             ("feat_ext", "full")   then everything, starting from that
             ("probe",)             a support vector machine per task, on the statistics of a clip
    folds  : of a cross-validation, or None: the data set's own test split
    codes  : from files, in place of a frozen encoder's; None: the suite's encoder
    grid   : the recipes of a nested cross-validation, of which inner folds choose one per fold
    teacher : codes that the encoder learns to predict while it is trained, or None
    """

    model: str
    speech: str
    music: str
    steps: tuple[str, ...]
    folds: Folds | None = None
    codes: CodeSource | None = None
    grid: tuple[Recipe, ...] = ()
    teacher: CodeSource | None = None

    @classmethod
    def from_flags(
        cls,
        model: str,
        speech: str,
        music: str,
        *,
        release: bool | None,
        probe: bool = False,
        folds: Folds | None = None,
    ) -> TransferPlan:
        """The plan of -mod, -s, -m, -rel, --probe and --folds; UserError if they do not fit.

        release : None releases the encoder if possible
        """
        spec = catalogue.spec(model)
        probe = probe or spec.probe
        if release is None:
            release = not (probe or spec.baseline)
        if probe and release:
            raise UserError("a probe uses the frozen encoder: use -rel n")
        if spec.baseline and release:
            raise UserError(f"{model} is trained from scratch in one step: use -rel n")
        if spec.baseline and speech != "n":
            say(f"{model} learns from music alone: -s {speech} is ignored")
            speech = "n"
        if probe:
            steps = ("probe",)
        elif spec.baseline or (speech == "n" and release):
            steps = ("scratch",)
        else:
            steps = ("feat_ext", "full") if release else ("feat_ext",)
        return cls(model, speech, music, steps, folds)

    @classmethod
    def of_codes(
        cls,
        paths: Sequence[Path],
        music: str,
        *,
        release: bool,
        probe: bool = False,
        folds: Folds | None = None,
    ) -> TransferPlan:
        """The plan of -s with codes files, -m, -rel, --probe and --folds; UserError if they do
        not fit, or a file cannot be used."""
        if release:
            raise UserError("codes from a file have no encoder to release: use -rel n")
        from lib.datasets import code_source

        codes = code_source.read(paths, per_recording=probe)
        return cls(codes.name, "c", music, ("probe" if probe else "feat_ext",), folds, codes)

    def name(self, step: str, iteration: int, tag: str = "", fold: int | None = None) -> RunName:
        """The run of a step; without `fold`, that of all folds."""
        return RunName(
            model=self.model,
            mode=step,
            speech=self.speech,
            music=self.music,
            iteration=iteration,
            tag=tag,
            folds=(self.folds.name if self.folds else "") + ("_nested" if self.grid else ""),
            fold=fold,
        )

    def with_teacher(self, paths: Sequence[Path]) -> TransferPlan:
        """The same plan, with the codes of these files as a teacher; UserError if no encoder is
        trained, or a file cannot be used."""
        if self.steps[-1] not in TAUGHT:
            raise UserError("--teacher is for an encoder in training: use -rel y, or model_cnn")
        from lib.datasets import code_source

        return replace(self, teacher=code_source.read(paths, per_recording=False))

    def sections(self, step: str) -> tuple[str, ...]:
        """The sections of the settings that decide a step, in addition to those for all steps."""
        if self.codes:
            return () if step == "probe" else ("heads", "transfer", "augment")
        spec = catalogue.spec(self.model)
        if step == "probe":
            return () if spec.probe else (spec.size,)
        taught = ("teacher",) if self.teacher and step in TAUGHT else ()
        if step == "full":
            return ("release", "augment", *taught)
        size = (spec.size,) if step == "scratch" else ()
        return (*size, "heads", "transfer", "augment", *taught)

    @property
    def all_sections(self) -> tuple[str, ...]:
        """The sections of the settings that decide the whole plan, each once; none of a probe."""
        return () if self.steps == ("probe",) else self.sections_until(self.steps[-1])

    def sections_until(self, step: str) -> tuple[str, ...]:
        """The sections of the settings that decide a step and those before it, each once."""
        steps = self.steps[: self.steps.index(step) + 1]
        sections = [name for step in steps for name in self.sections(step)]
        return tuple(dict.fromkeys(("network", *sections)))

    def pretrained(self, iteration: int, fold: int | None = None) -> tuple[RunName, str] | None:
        """The pretraining number `iteration` that the plan starts from: its run, and the command
        that makes it. None: random weights, or no encoder of the suite."""
        if self.codes or self.speech == "n" or catalogue.spec(self.model).probe:
            return None
        command = f"python3 pretrain_{catalogue.spec(self.model).script}.py "
        if self.speech == "u":
            folds = self.folds.name if self.folds else ""
            name = RunName(
                self.model, "pretrain", "", self.music, iteration, folds=folds, fold=fold
            )
            command += f"-m {self.music} -mod {self.model}"
            command += f" --folds {self.folds.count}" if self.folds else ""
            command += f" --groups {self.folds.groups}" if self.folds and self.folds.groups else ""
        else:
            name = RunName(self.model, "pretrain", self.speech, iteration=iteration)
            command += f"-s {self.speech} -mod {self.model}"
        command += f" --iterations {iteration + 1}" if iteration else ""
        return name, command
