# syntax=docker/dockerfile:1
# KubeChat as a container: docker build -t kubechat .
#
# It listens on loopback like everywhere else, so a published port reaches nothing until sign-in is settled:
#   this machine only (the kubeconfig has to be readable for uid 10001):
#     docker run --network host -v kubechat:/data -v "$HOME/.kube/config:/data/.kube/config:ro" kubechat
#   behind a proxy that signs people in:
#     docker run -p 8000:8000 -v kubechat:/data -e HOST=0.0.0.0 -e KUBECHAT_TRUSTED_HEADER=X-Forwarded-User \
#         -e KUBECHAT_TRUSTED_PROXIES=172.17.0.0/16 kubechat
# In a cluster: deploy/kubechat.yaml. The root filesystem may be read-only; /data and /tmp have to be writable.

FROM python:3.12-slim AS build
WORKDIR /app
ENV PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /venv
# Installed from the lock with hashes, as `make run` does it; the reasons stand in the Makefile.
COPY requirements.lock ./
RUN awk '/^(setuptools|uv)==/ { on = 1 } on { print } !/\\$/ { on = 0 }' requirements.lock > bootstrap.txt \
    && /venv/bin/pip install --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes -r bootstrap.txt \
    && /venv/bin/uv pip install --quiet --no-cache --python /venv/bin/python --only-binary :all: --no-binary cuid \
        --no-binary literalai --no-binary syncer --no-build-isolation --require-hashes --compile-bytecode \
        -r requirements.lock \
    && rm bootstrap.txt
COPY . ./
# Editable, so that the tree in the image is the tree of the repository.
RUN /venv/bin/uv pip install --quiet --no-cache --python /venv/bin/python --offline --no-deps --no-build-isolation \
        --editable . \
    && /venv/bin/python -m compileall -q assistant agents knowledge ui \
    && /venv/bin/uv pip uninstall --quiet --python /venv/bin/python uv pip

FROM python:3.12-slim
# The embedded PostgreSQL asks the system for the name of its user, so the uid needs an entry.
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin kubechat \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
ENV PATH=/venv/bin:$PATH \
    HOME=/data \
    KUBECHAT_DATA_DIR=/data/kubechat \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# PostgreSQL and the server stop in order on SIGTERM.
STOPSIGNAL SIGTERM
ENTRYPOINT ["kubechat"]
CMD ["serve"]
