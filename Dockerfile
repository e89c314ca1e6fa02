# TwelveLead in a container; data, checkpoints, logs and results live outside, in volumes.
#
#   docker build -t twelvelead .                    CPU (the default target)
#   docker run --rm -v "$PWD/data:/app/data" -v "$PWD/checkpoints:/app/checkpoints" twelvelead
#
#   docker build --target gpu -t twelvelead:gpu .   NVIDIA GPU, for TensorFlow; --build-arg FRAMEWORK=torch for PyTorch
#   docker run --rm --gpus all -v "$PWD/data:/app/data" -v "$PWD/checkpoints:/app/checkpoints" twelvelead:gpu
#
#   docker build --target app -t twelvelead:app .   the explorer, for http://localhost:8501 on this computer alone
#   docker run --rm -p 127.0.0.1:8501:8501 -v "$PWD/checkpoints:/app/checkpoints" twelvelead:app
#
# The wheels bring CUDA with them, so the slim image is the base of the GPU target too. The two frameworks bring
# different CUDA and cuDNN versions under the same file names: one image gives the GPU to one of them, the other one
# runs in it on the CPU.

# by tag, not by digest, so that a build gets Debian's security updates
FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --create-home --uid 1000 twelvelead \
    && mkdir -p /app/data /app/checkpoints /app/logs /app/results \
    && chown -R twelvelead /app
WORKDIR /app
CMD ["python", "train.py", "--model", "imle_net", "--batchsize", "32", "--epochs", "60", "--data_dir", "data/ptb"]


FROM base AS cpu-packages
COPY requirements.txt .ci/pip-install ./
RUN python -m venv /opt/venv \
    && ./pip-install python --no-cache-dir --disable-pip-version-check --requirement requirements.txt


FROM base AS cpu
COPY --from=cpu-packages /opt/venv /opt/venv
COPY --chown=twelvelead . .
USER 1000
VOLUME ["/app/data", "/app/checkpoints", "/app/logs", "/app/results"]


FROM cpu AS app
EXPOSE 8501
CMD ["python", "-m", "explorer.command", "--address", "0.0.0.0", "--no_browser", "True"]


FROM base AS gpu-packages
ARG FRAMEWORK=tf
COPY requirements.txt .ci/pip-install ./
# TensorFlow gets CUDA by its extra (and torch is the CPU build then); PyPI's torch is the CUDA build.
RUN python -m venv /opt/venv \
    && case "$FRAMEWORK" in \
        tf) sed -i 's/^tensorflow==/tensorflow[and-cuda]==/' requirements.txt ;; \
        torch) export TORCH_INDEX= ;; \
        *) echo "FRAMEWORK is tf or torch, not '$FRAMEWORK'" >&2; exit 2 ;; \
    esac \
    && ./pip-install python --no-cache-dir --disable-pip-version-check --requirement requirements.txt


FROM base AS gpu
COPY --from=gpu-packages /opt/venv /opt/venv
COPY --chown=twelvelead . .
USER 1000
VOLUME ["/app/data", "/app/checkpoints", "/app/logs", "/app/results"]


# without --target: the CPU image
FROM cpu
