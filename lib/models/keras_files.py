"""Check model files of Keras 3 (.keras) as data before Keras builds a network from them.

Such a file is a zip archive of three members, none of them compressed. Its architecture may name
only the layers that this suite writes: Keras finds a class by its name, and some classes execute
what the file says. Sizes are taken from the real content of the file: a network may not have more
weights than the file holds.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from pathlib import Path

import h5py
import keras

from lib.errors import UserError
from lib.models import architecture
from lib.plain_hdf5 import check_plain

CONFIG, WEIGHTS, ABOUT = "config.json", "model.weights.h5", "metadata.json"
DIRECTORY = 4096  # most bytes of an archive's list of members [ours]; three members take 300
LARGEST = 1 << 24  # numbers in a tensor inside a network, per window [ours]; the suite's: 1 << 17
# most bytes of weights per byte that the file stores [ours]; Keras does not compress them
EXPANSION = 4

LAYERS = """
    Activation BatchNormalization Conv1D Conv2D Conv2DTranspose Dense Dropout Flatten GRU
    GlobalAveragePooling1D InputLayer LayerNormalization MaxPooling2D Normalization Permute
    Rescaling Reshape UpSampling1D UpSampling2D
"""
# in the networks that pretrain encoders
OPERATIONS = """
    Add Cumsum Einsum Equal GetItem LogicalAnd Mean Multiply NotEqual OnesLike Reshape Stack
    Subtract Sum TrueDivide Where
"""
# module, as Keras 3.12 to 3.15 name it -> its classes that the suite writes
CLASSES = {
    "keras": "DTypePolicy",
    "keras.initializers": "Constant GlorotUniform Ones Orthogonal Zeros",
    "keras.layers": LAYERS,
    "keras.src.models.functional": "Functional",
    "keras.src.ops.numpy": OPERATIONS,
    None: "__ellipsis__ __keras_tensor__ __slice__",
}
WRITTEN = [(module, name) for module, names in CLASSES.items() for name in names.split()]


def load(path: Path, advice: str) -> keras.Model:
    """Load a .keras file that this suite wrote.

    Raises UserError with `advice` when it is missing, damaged, from a newer Keras, names a class
    that the suite does not write, or describes a larger network than it holds.
    """
    version = None
    try:
        with open(path, "rb") as file, _archive(file, path) as archive:
            version = _newer_version(archive)
            config = architecture.parse(archive.read(CONFIG), path)
            _check_names(config, path, version)
            _check_sizes(config, archive.getinfo(WEIGHTS).file_size, path)
            with h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as weights:
                check_plain(weights, path, EXPANSION)
        return keras.models.load_model(path, compile=False)
    except UserError:
        raise
    except Exception as error:  # zip, JSON, HDF5 and Keras each raise their own errors for damage
        about = f"{type(error).__name__}: {str(error)[:80]}"
        if version:
            raise UserError(
                f"{path} was saved with Keras {version}; the Keras here ({keras.__version__}) "
                f"cannot read it ({about}): update it with\n  python3 -m pip install -U "
                f"'keras>={version}'\nor {advice}"
            ) from error
        raise UserError(f"{path} is missing or damaged ({about}): {advice}") from error


def _archive(file: io.BufferedReader, path: Path) -> zipfile.ZipFile:
    """The archive in `file`, if it has each member that Keras writes once, of the stated size.

    The check covers exactly what Keras reads: Keras also asks `zipfile` for these names.
    """
    end = zipfile._EndRecData(file)  # ZipFile would trust it, and take memory for each member
    if end and end[zipfile._ECD_SIZE] > DIRECTORY:
        raise UserError(f"{path} holds too many files: expected {ABOUT}, {CONFIG} and {WEIGHTS}")
    archive = zipfile.ZipFile(file)
    names = sorted(archive.namelist())
    if names not in ([CONFIG, ABOUT, WEIGHTS], [CONFIG, WEIGHTS]):
        listed = ", ".join(ascii(name[:40]) for name in names[:5]) or "nothing"
        raise UserError(
            f"{path} holds {listed}: expected {ABOUT}, {CONFIG} and {WEIGHTS}, each once; it is "
            "not a model file of this suite"
        )
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise UserError(
                f"{path}: its {member.filename} is compressed; expected it uncompressed, as Keras "
                "writes it: get the file as it was saved"
            )
    if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
        raise UserError(f"{path} promises more bytes than it holds: get the file again")
    architecture.check_size(archive.getinfo(CONFIG).file_size, path)
    return archive


def _newer_version(archive: zipfile.ZipFile) -> str | None:
    """The Keras version that wrote a file; None if it is not newer than the installed one."""
    if ABOUT not in archive.namelist() or archive.getinfo(ABOUT).file_size > DIRECTORY:
        return None
    about = json.loads(archive.read(ABOUT))
    writer = _numbers(about.get("keras_version")) if isinstance(about, dict) else []
    return ".".join(map(str, writer)) if writer > _numbers(keras.__version__) else None


def _numbers(version: object) -> list[int]:
    """The first two or three numbers of a version; [] if it is not a version."""
    match = re.match(r"\d{1,4}(\.\d{1,4}){1,2}", str(version))
    return [int(number) for number in match[0].split(".")] if match else []


def _check_names(config: dict, path: Path, version: str | None) -> None:
    """Raise UserError when an architecture names anything that this suite does not write."""
    config["compile_config"] = None  # `load` tells Keras not to read this one
    for item in architecture.objects(config):
        if not {"class_name", "module", "registered_name", "compile_config"} & item.keys():
            continue
        name, module = item.get("class_name"), item.get("module")
        if (module, name) not in WRITTEN or item.get("registered_name") not in (None, name):
            shown = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}"[:80])
            newer = f" (it was saved with Keras {version}, here is Keras {keras.__version__})"
            raise UserError(
                f"{path} holds {shown}, which is not a layer that this suite writes: refused, "
                f"since a model file may not execute code{newer if version else ''}; name a model "
                "that this suite made"
            )
        if item.get("compile_config"):
            raise UserError(
                f"{path} has training settings inside its network: refused; name a model that this "
                "suite made"
            )


def _check_sizes(config: dict, size: int, path: Path) -> None:
    """Raise UserError when the network of an architecture is larger than its file.

    size : bytes of the weights in the file
    """
    with architecture.unallocated():
        model = keras.saving.deserialize_keras_object(config)
        weights = sum(math.prod(weight.shape) for weight in model.weights)
        largest = architecture.largest_output(model)
    if 4 * weights > size:
        raise UserError(
            f"{path} describes a network of {weights} weights of 4 bytes each, but holds only "
            f"{size} bytes: refused; get or make the file again"
        )
    if largest > LARGEST:
        raise UserError(
            f"{path} describes a network that makes {largest} numbers from one window: refused; "
            f"expected at most {LARGEST}"
        )
