# The gateway and nothing else: no speech models, no tests, no compiler, no root.
#
#   docker build -t voice-openai-connect .
#   docker run --env-file .env -p 8000:8000 --stop-timeout 120 voice-openai-connect

FROM python:3.12-slim AS build
# The same version as in the Makefile.
RUN python -m venv /uv && /uv/bin/pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/app/.venv
WORKDIR /app
COPY pyproject.toml uv.lock ./
# The dependencies change rarely, so they are a layer of their own. Only what the lock file names, with its hashes.
RUN /uv/bin/uv sync --locked --no-dev --extra pcm16 --no-install-project --python /usr/local/bin/python
COPY README.md LICENSE ./
COPY src src
RUN /uv/bin/uv sync --locked --no-dev --extra pcm16 --no-editable --python /usr/local/bin/python

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A tools module or a profile of your own is mounted here.
WORKDIR /app/own
ENV PYTHONPATH=/app/own
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/healthz', timeout=2)"]
# SIGTERM: no new calls, the live ones go on. Give it time: `docker stop --time`, `stop_grace_period`, stopTimeout.
STOPSIGNAL SIGTERM
CMD ["voice-connect", "serve"]
