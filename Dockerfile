# One image for every service but the database. BASE_IMAGE is any image with Python 3.11 or later and its venv module.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# pip's own variables of the machine that builds (docker build --build-arg PIP_INDEX_URL ...); unset unless given.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CERT

RUN useradd --create-home --uid 1000 histotune \
    && install --directory --owner histotune /app /app/runs /data /home/histotune/.cache
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    TZ=UTC
WORKDIR /app

# What the installation reads, and no more: a change of the code does not install PyTorch again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY search/__init__.py search/
COPY models/__init__.py models/
COPY data_utils/__init__.py data_utils/
COPY studies/__init__.py studies/
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --upgrade --constraint constraints.txt pip \
    && pip install --no-cache-dir --constraint constraints.txt --build-constraint constraints.txt --editable .

COPY search search
COPY models models
COPY data_utils data_utils
COPY studies studies

USER histotune
CMD ["python", "-m", "search.launch", "--help"]
