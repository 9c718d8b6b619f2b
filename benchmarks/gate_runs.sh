#!/bin/sh
# Real servers for the gate to be tried on: BASE and CURRENT of the same program, and SLOW of
# one whose ranks sleep for a share of each step, in turns. An interrupted script goes on
# where it was when it is started again with the same OUT.
set -eu
: "${OUT:=gate-out}" "${ROUNDS:=5}" "${SLOW_BY:=0.12}"
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/slow_rank${PYTHONPATH:+:$PYTHONPATH}"

[ -d "$OUT/model" ] || hetctl model tiny "$OUT/model"
for round in $(seq "$ROUNDS"); do
  for side in base current slow; do
    ls "$OUT/$side"/raw/*-"$round".json >/dev/null 2>&1 && continue
    [ "$side" = slow ] && share=$SLOW_BY || share=0
    echo "round $round of $ROUNDS: $side"
    SLOW_RANK=$share hetctl bench "$OUT/model" --split none --max-model-len 1024 --input-len 64 \
      --output-len 32 --concurrency 4 --num-prompts 128 --out "$OUT/$side" --append
  done
done
python "$here/gate.py" real "$OUT/base" "$OUT/current" --slow "$OUT/slow"
