# Two images of one commit; build with BuildKit, from the repository's root.
#
#   docker build --target worker   -t REPO/worker:TAG .
#   docker build --target launcher -t REPO/launcher:TAG \
#       --build-arg WORKER_IMAGE=REPO/worker:TAG .
#
# worker: what Beam's workers run in (--sdk_container_image), also Flink's. Models and
# indexes are not in it: workers load them from where --embedder and --index say.
# launcher: builds the job of a Dataflow flex template, with the worker's own libraries.
#
# --build-arg ACCELERATOR=cuda or tpu adds what TensorFlow and JAX need for GPUs
# (Dataflow installs the driver: install-nvidia-driver) or for TPUs.

# Both as requirements/mine.lock pins Beam, for the same Python minor version.
ARG BEAM_VERSION=2.77.0
ARG LAUNCHER_TAG=flex_templates_base_image_release_20240628_RC00

FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:${LAUNCHER_TAG} AS template_launcher

FROM apache/beam_python3.11_sdk:${BEAM_VERSION} AS worker
ARG ACCELERATOR=cpu
WORKDIR /clipseed
# Locks are complete: nothing is resolved, whatever has been published since.
COPY requirements requirements
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/mine.lock \
    && if [ "$ACCELERATOR" != cpu ]; then \
        pip install --no-cache-dir --no-deps --require-hashes \
            -r "requirements/$ACCELERATOR.lock"; \
    fi
COPY setup.py pyproject.toml README.md LICENSE ./
COPY beam_pipeline beam_pipeline
COPY clipseed clipseed
COPY index_service index_service
COPY models models
COPY transforms transforms
# Fails here, not on a thousand workers, when a library does not load.
RUN pip install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && python -c "import beam_pipeline.mine, scann, tensorflow_io, jax, av"
# One TPU chip (v5e, topology 1x1) a worker; without a TPU nothing reads these.
ENV TPU_SKIP_MDS_QUERY=1 \
    TPU_HOST_BOUNDS=1,1,1 \
    TPU_CHIPS_PER_HOST_BOUNDS=1,1,1 \
    TPU_WORKER_HOSTNAMES=localhost \
    TPU_WORKER_ID=0 \
    TPU_ACCELERATOR_TYPE=v5litepod-1
# The base image's entry point, /opt/apache/beam/boot, starts the worker.

FROM worker AS launcher
ARG WORKER_IMAGE
COPY --from=template_launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/
COPY flex_template/launch.py /template/
# Jobs run in the worker image of the same commit unless --sdk_container_image is given.
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/launch.py \
    CLIPSEED_WORKER_IMAGE=${WORKER_IMAGE}
ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
