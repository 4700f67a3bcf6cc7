#!/bin/sh
# Builds the TensorRT engines ahead of time, so that the next start of Triton only reads them.
#
# Triton itself builds them, from the image and into the volume it will run with, while it warms up
# every model at its smallest and largest batch: nothing else makes an engine that is certain to fit.
# Needs the GPU that will serve; an engine is of one kind of GPU.
#
#     deploy/build-engines.sh
set -eu
cd "$(dirname "$0")/.."
compose="docker compose --env-file deploy/gpu.env"

# Healthy means warmed up: see start_period for how long it may take.
$compose up --detach --wait triton
$compose stop triton
$compose run --rm --no-deps --entrypoint ls engine-cache -lR /var/cache/triton/trt
