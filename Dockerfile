# Two images: `serve`, which answers with a registered version, and `lab`, which trains and registers them.
# docs/how-to/deploy-the-service.md, docs/how-to/deploy-the-lab.md

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY app ./app
COPY components ./components
COPY flows ./flows
# The versions of requirements.lock, of which the service needs few. A hash would have to be given for each package that pip builds.
RUN sed -E '/^ +--hash/d; s/ *\\$//' requirements.lock > constraints.txt \
    && python -m venv /opt/lesionflow \
    && /opt/lesionflow/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt '.[serve]'

FROM python:3.11-slim AS lab
# DVC asks git which revision it is in.
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/lesionflow \
    && /opt/lesionflow/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement /tmp/requirements.lock
ENV PATH=/opt/lesionflow/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1
RUN install --directory --owner 1000 --group 1000 /artifacts
USER 1000
WORKDIR /project

FROM python:3.11-slim AS serve
RUN useradd --system --uid 10001 --home-dir /var/cache/lesionflow --create-home --shell /usr/sbin/nologin lesionflow
COPY --from=build /opt/lesionflow /opt/lesionflow
ENV PATH=/opt/lesionflow/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/cache/lesionflow
VOLUME /var/cache/lesionflow
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python", "-m", "app.server.probe", "--port", "8000"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["lesionflow", "serve", "--port", "8000", "--cache", "/var/cache/lesionflow"]
CMD ["--host", "127.0.0.1", "--model", "skin-lesion-mobilenetv2"]
