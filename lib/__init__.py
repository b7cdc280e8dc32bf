"""The packages of the suite; CONTRIBUTING.md says which owns what."""

import os

# before Keras is imported: a keras.json of another project does not choose the backend
if not os.environ.get("KERAS_BACKEND"):
    os.environ["KERAS_BACKEND"] = "tensorflow"
