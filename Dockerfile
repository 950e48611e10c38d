# One image for every service but the database. BASE_IMAGE is any image with bash, ca-certificates, and Python 3.11 or later
# with its venv module.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# Authorities of the institution that builds, if it has put any there (deploy/certificates/README.md).
COPY deploy/certificates /usr/local/share/ca-certificates/histotune
RUN update-ca-certificates
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

# pip's own variables of the machine that builds (docker build --build-arg PIP_INDEX_URL ...); unset unless given.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
# An index of PyTorch without CUDA, as PyTorch's own; unset: the registry's, which has CUDA on most machines.
ARG TORCH_INDEX

RUN useradd --create-home --uid 1000 histotune \
    && install --directory --owner histotune /app /app/runs /data /home/histotune/.cache
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    TZ=UTC
WORKDIR /app

# What the installation reads, and no more: a change of the code or of the README does not install PyTorch again. With the
# extras: what a command installed for itself would be gone with its container.
COPY pyproject.toml constraints.txt ./
COPY search/__init__.py search/
COPY models/__init__.py models/
COPY data_utils/__init__.py data_utils/
COPY studies/__init__.py studies/
RUN python3 -m venv /opt/venv \
    && touch README.md LICENSE \
    && pip install --no-cache-dir --upgrade --constraint constraints.txt pip \
    && { [ -z "${TORCH_INDEX:-}" ] \
         || pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" --constraint constraints.txt torch torchvision \
         || { echo "No PyTorch of this version at $TORCH_INDEX; without TORCH_INDEX the registry's is taken" >&2; exit 1; }; } \
    && pip install --no-cache-dir --constraint constraints.txt --build-constraint constraints.txt --editable '.[h5,export]'

COPY LICENSE ./
COPY deploy/in_ray.sh deploy/
COPY search search
COPY models models
COPY data_utils data_utils
COPY studies studies

# Of the sources, for reports (docker build --build-arg COMMIT=$(git describe --always --dirty --abbrev=40)).
ARG COMMIT
ENV HISTOTUNE_COMMIT=$COMMIT

USER histotune
CMD ["python", "-m", "search.launch", "--help"]
