# KT in a container: `docker build -t kt:0.1.0 .`
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/kt
WORKDIR /src
# For the loops of the diagnosis (setup.py), in this stage only.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# What KT stands on, in exact versions with their hashes and as wheels only: none of it is compiled here.
COPY requirements/runtime.txt requirements/
RUN /opt/kt/bin/pip install --no-deps --require-hashes --only-binary=:all: -r requirements/runtime.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY graph_schema graph_schema
COPY sense sense
COPY diagnose diagnose
COPY remediate remediate
COPY verify verify
COPY twin twin
COPY kt kt
RUN /opt/kt/bin/pip install --no-deps . && /opt/kt/bin/python -c "import diagnose.loops.search, diagnose.loops.weights" && /opt/kt/bin/pip uninstall -y pip setuptools

FROM python:3.11.13-slim-bookworm
RUN python -m pip uninstall -y pip setuptools wheel \
    && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kt \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/kt
COPY --from=build /opt/kt /opt/kt
ENV PATH=/opt/kt/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    KT_DATA_DIR=/var/lib/kt KT_WEB__HOST=0.0.0.0
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/kt
EXPOSE 8650
ENTRYPOINT ["kt"]
CMD ["serve"]
# For the web process; the others are asked with `kt health http://127.0.0.1:PORT/healthz`.
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=4 CMD ["kt", "health"]
