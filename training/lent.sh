#!/usr/bin/env bash
# Trains the teacher, then ConnectNet and RCRNet, within minutes on a GPU that is lent.
#
#   training/lent.sh SHARDS START.pt OUT [MINUTES_OF_THE_TEACHER [MINUTES_OF_EACH_STUDENT]]
#
# SHARDS are those of `python -m training.data.shards`, START.pt is a checkpoint of the U-Net, and OUT
# receives the averaged weights of each network and its losses. The whole takes a minute longer than
# the training: 4.5 + 2 x 1.5 minutes are within nine.
set -euo pipefail
shards=${1:?folder of shards} start=${2:?checkpoint of the teacher} out=${3:?folder for the weights}
teacher=${4:-4.5} student=${5:-1.5}
workers=$(($(nproc) > 2 ? $(nproc) - 1 : 1))
work=$(mktemp -d)
mkdir -p "$out"

python3 -m training.data.shards "$work/pack" --unpack "$shards"

train() { # model, weights, minutes
  local run="$1_lent"
  python3 -m training.train "training/recipes/gpu/$1.toml" --data "$work/pack" --runs runs/lent \
    --weights "$2" --minutes "$3" --workers "$workers"
  python3 -m training.models.checkpoint "runs/lent/$run/last.pt" "$out/$run.pt"
  cp "runs/lent/$run/history.jsonl" "$out/$run.jsonl"
}

train unet "$start" "$teacher"
train connectnet training/weights/connectnet.pt "$student"
train rcrnet training/weights/rcrnet.pt "$student"
