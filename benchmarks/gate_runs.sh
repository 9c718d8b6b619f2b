#!/bin/sh
# Real servers for the gate to be tried on: BASE and CURRENT of the same program, and SLOW of
# one whose steps take 10% longer, in turns; a minute each. Started again with the same OUT, it
# goes on where it was. Needs hetctl and its Python first in PATH.
#
#   OUT (gate-out)  ROUNDS (5) of three runs  SLOW_BY (0.10)  RUNS: at most so many runs now
set -eu
: "${OUT:=gate-out}" "${ROUNDS:=5}" "${SLOW_BY:=0.10}" "${RUNS:=1000}"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd)
export PYTHONPATH="$here/slow_rank${PYTHONPATH:+:$PYTHONPATH}"
# What hetctl learns of slow ranks is not for its later plans.
export VLLM_HETERO_CACHE="${VLLM_HETERO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vllm_hetero}"
export XDG_CACHE_HOME="$OUT/cache"

there() {  # How many runs of a side there are: each has started once.
  grep -cs '"server_start_s"' "$OUT/$1/results.json" || true
}

[ -d "$OUT/model" ] || hetctl model tiny "$OUT/model"
for round in $(seq "$ROUNDS"); do
  for side in base current slow; do
    count=$(there $side)
    [ "${count:-0}" -lt "$round" ] || continue
    [ "$RUNS" -gt 0 ] || { echo "more is to come: start this again"; exit 0; }
    RUNS=$((RUNS - 1))
    [ "$side" = slow ] && share=$SLOW_BY || share=0
    echo "round $round of $ROUNDS: $side"
    SLOW_RANK=$share hetctl bench "$OUT/model" --split none --no-corrections --max-model-len 1024 \
      --input-len 64 --output-len 32 --concurrency 4 --num-prompts 256 --out "$OUT/$side" --append
  done
done
python "$here/gate.py" real "$OUT/base" "$OUT/current" --slow "$OUT/slow"
