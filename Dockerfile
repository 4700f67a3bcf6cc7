# The gateway with its models. It is one process without a shell, and writes nothing to disk.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The version of Debian selects those of its packages.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils liblapack3 \
    && rm -rf /var/lib/apt/lists/*
# Dependencies come before sources: they change less often, and their layer takes longest.
COPY deploy/requirements.txt deploy/requirements-build.txt ./
RUN pip install --no-deps --only-binary :all: --require-hashes --requirement requirements-build.txt \
    && python -m venv --without-pip /opt/silhouette \
    && pip --python /opt/silhouette install --no-deps --only-binary :all: --require-hashes \
        --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
# The models are part of the wheel, so they are copied before it is built.
COPY model_repository model_repository
COPY service service
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/silhouette install --no-deps dist/*.whl
COPY deploy/slim_packages.py deploy/check_packages.py deploy/check_models.py deploy/sbom.py ./
RUN python slim_packages.py "$(echo /opt/silhouette/lib/python3*/site-packages)" \
    && /opt/silhouette/bin/python check_packages.py \
    && find /opt/silhouette/bin -type f ! -name silhouette -delete
COPY model_repository /models
RUN python check_models.py /models \
    && SILHOUETTE_MODEL_REPOSITORY=/models /opt/silhouette/bin/silhouette models
# The bill of materials lists the Python packages, the models and the libraries from Debian.
RUN cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file packages.cdx.json /opt/silhouette/bin/python \
    && python sbom.py packages.cdx.json /models /opt/silhouette/sbom.cdx.json

FROM ${BASE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Silhouette" \
      org.opencontainers.image.description="Portrait segmentation as a service: the gateway and its models" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-Silhouette-Weights" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/silhouette /opt/silhouette
COPY --from=build /models /models
# Beyond loopback the service requires SILHOUETTE_API_KEYS or SILHOUETTE_ALLOW_ANONYMOUS=true.
# ONNX Runtime sends telemetry unless this variable disables it.
ENV PATH=/opt/silhouette/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SILHOUETTE_HOST=0.0.0.0 \
    SILHOUETTE_MODEL_REPOSITORY=/models
# An orchestrator can verify a number, but not a name, to be other than root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SILHOUETTE_PORT', 8000)), timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
# In the exec form SIGTERM reaches the service, which then drains.
ENTRYPOINT ["silhouette"]
CMD ["serve"]
