#!/bin/sh
# Builds the TensorRT engines ahead of time, so that the next start of Triton only loads them.
#
# Triton builds them itself, with the image and the volume of the later service. It warms up every
# model at its smallest and largest batch. Only engines built this way are certain to fit. Run the
# script on the GPU that will serve: an engine fits one kind of GPU.
#
#     deploy/build-engines.sh
set -eu
cd "$(dirname "$0")/.."
compose="docker compose --env-file deploy/gpu.env"

# Triton is healthy after its warm-up; start_period limits the time.
$compose up --detach --wait triton
$compose stop triton
$compose run --rm --no-deps --entrypoint ls engine-cache -lR /var/cache/triton/trt
