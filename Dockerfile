# The studio with its models inside: docker build -t studio . && docker run -p 7860:7860 studio
FROM python:3.11-slim

# A Space runs its container as user 1000, and mounts persistent storage at /data.
RUN useradd --create-home --uid 1000 studio && mkdir /data && chown studio /data

# PyPI's torch brings several GB of CUDA along. For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -r requirements.txt

# Owned by root: nothing in here is written to.
COPY . .
USER studio
ENV STUDIO_HOST=0.0.0.0 STUDIO_PORT=7860 STUDIO_RUNS_DIR=/data/runs PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['STUDIO_PORT'] + '/gradio_api/app_id', timeout=8)"]
CMD ["python", "studio.py"]
