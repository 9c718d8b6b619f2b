#!/bin/sh
# The demo: what this machine is, how the demo model is split over two ranks, and how that
# compares with one rank. Run it as `make demo`.
set -eu
: "${OUT:=demo-out}"
model=$OUT/model
load="--input-len 64 --output-len 32 --concurrency 4"

hetctl model tiny "$model" --force
echo
hetctl probe
echo
hetctl plan "$model" --split 4,4 --max-model-len 1024 $load
echo
hetctl bench "$model" --compare --split 4,4 --max-model-len 1024 $load \
  --num-prompts 32 --repeats 1 --out "$OUT"
