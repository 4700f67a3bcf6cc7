#!/usr/bin/env bash
# PyTorch on a CPU has two implementations of a 1x1 convolution; the batch selects one.
#
# torch 2.13.0, float32, one thread. One thread is usual for a process of torchrun. A batch of 15
# runs `aten::_slow_conv2d_forward`. A batch of 16 runs oneDNN's `aten::mkldnn_convolution`. With
# two threads, a batch of 15 runs oneDNN too. Seen on x86-64.
#
# Guess before the run: oneDNN computes every dense convolution of a CPU in float32.
# It matters for networks of inverted residuals, which are mostly 1x1 convolutions. Two processes
# with eight photos each do not run the code of one process with sixteen. On an AMD EPYC a training
# step of a U-Net then took 1.1 times the processor time a photo.
#
# Output: one line of kernels for each number of threads and batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.profiler import ProfilerActivity, profile

KERNELS = ("aten::_slow_conv2d_forward", "aten::mkldnn_convolution")


def kernel(threads: int, batch: int) -> str:
    torch.set_num_threads(threads)
    convolution = torch.nn.Conv2d(64, 64, kernel_size=1)
    image = torch.rand(batch, 64, 16, 16)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as events:
        convolution(image)
    return "+".join(e.key for e in events.key_averages() if e.key in KERNELS)


SLOW, ONEDNN = KERNELS
expected = {(1, 15): SLOW, (1, 16): ONEDNN, (2, 15): ONEDNN, (2, 16): ONEDNN}
print("torch", torch.__version__)
for (threads, batch), name in expected.items():
    seen = kernel(threads, batch)
    print(f"{threads} thread(s), batch {batch}: {seen}")
    assert seen == name, f"this version runs {seen} instead of {name}"
PYTHON
