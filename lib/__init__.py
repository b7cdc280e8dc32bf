"""The packages of the suite; CONTRIBUTING.md says what each of them contains."""

import os

# set before Keras is imported, so that another project's keras.json does not choose the backend
if not os.environ.get("KERAS_BACKEND"):
    os.environ["KERAS_BACKEND"] = "tensorflow"
