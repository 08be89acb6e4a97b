# An edgecache node.
#   docker build -t edgecache .                        both built-in models inside
#   docker build -t edgecache --build-arg MODELS=none .  no models: mount a volume on /models, the first start fills it
ARG PYTHON=3.11
ARG MODELS=inside

FROM python:${PYTHON}-slim AS wheel
ENV PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY edgecache edgecache
RUN python -m pip wheel --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim AS installed
ENV PIP_NO_CACHE_DIR=1
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/edgecache && /opt/edgecache/bin/python -m pip install /wheels/*.whl
# An empty folder to be copied: /data must belong to the user of the node, and /policies be there.
RUN mkdir /empty

FROM installed AS models-inside
ENV EDGECACHE_MODELS=/models
# A layer keeps times in whole seconds, and a converted model is found by the times of the files it was made from.
RUN /opt/edgecache/bin/edgecache models prepare > /prepared \
    && xargs rm -r < /prepared \
    && find /models -type f -exec touch -d @1700000000 {} + \
    && /opt/edgecache/bin/edgecache models prepare

FROM installed AS models-none
RUN mkdir /models

FROM models-${MODELS} AS models

FROM python:${PYTHON}-slim
COPY --from=installed /opt/edgecache /opt/edgecache
COPY --from=models --chown=10001:10001 /models /models
COPY --from=installed --chown=10001:10001 /empty /data
COPY --from=installed /empty /policies
COPY docker/health.py /opt/edgecache/health.py
ENV PATH=/opt/edgecache/bin:$PATH \
    HOME=/data \
    EDGECACHE_DATA_FOLDER=/data \
    EDGECACHE_MODELS=/models \
    EDGECACHE_POLICIES=/policies \
    EDGECACHE_LISTEN_TRAFFIC=0.0.0.0:8080 \
    EDGECACHE_LISTEN_ADMIN=0.0.0.0:8081 \
    EDGECACHE_LOG_FORMAT=json
WORKDIR /data
VOLUME /data
EXPOSE 8080 8081
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/opt/edgecache/bin/python", "/opt/edgecache/health.py"]
ENTRYPOINT ["edgecache"]
CMD ["serve"]
