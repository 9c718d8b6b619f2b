# hetctl, vLLM and its CPU kernels, for hosts with NVIDIA GPUs (driver for CUDA 13, x86-64):
#
#   docker build --build-arg VERSION="$(hetctl --version | cut -d ' ' -f 2)" --tag hetctl .
#   docker run --rm --gpus all --cap-add SYS_NICE --shm-size 1g --ulimit memlock=-1 \
#     --publish 127.0.0.1:8000:8000 --volume "$HOME/.cache/huggingface:/models" \
#     hetctl serve org/model --host 0.0.0.0
#
# `hetctl serve MODEL --emit docker` or `--emit k8s` writes the same as a file, with more of it.
# SYS_NICE lets CPU ranks bind their memory to a NUMA node; `hetctl doctor` in the container says
# what else it lacks.

FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS build
ARG UV_VERSION=0.13.8
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /source
COPY . .
# The build context has no git history, so that its version must be told.
ARG VERSION=0.0
ENV SETUPTOOLS_SCM_PRETEND_VERSION_FOR_HETCTL=${VERSION} \
    UV_PROJECT_ENVIRONMENT=/opt/hetctl \
    VLLM_HETERO_CACHE=/opt/hetctl/cache
RUN /opt/uv/bin/uv sync --locked --no-dev --no-editable --no-cache --python /usr/bin/python3 \
    && /opt/uv/bin/uv pip install --no-cache --python /opt/hetctl/bin/python intel-openmp==2025.3.0 \
    && /opt/hetctl/bin/hetctl kernels install

FROM nvidia/cuda:13.0.1-base-ubuntu24.04
# Triton compiles with gcc and Python's headers at the first start.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        gcc libc6-dev libnuma1 libtcmalloc-minimal4t64 python3 python3-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 hetctl \
    && install --directory --owner 10001 /models /state
COPY --from=build /opt/hetctl /opt/hetctl
ENV PATH=/opt/hetctl/bin:$PATH \
    VLLM_HETERO_CACHE=/opt/hetctl/cache \
    HF_HOME=/models \
    XDG_STATE_HOME=/state
USER 10001
WORKDIR /home/hetctl
ENTRYPOINT ["hetctl"]
CMD ["--help"]
