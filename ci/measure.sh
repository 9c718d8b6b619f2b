#!/bin/sh
# Measures two checkouts in turns: BASE and CURRENT are folders, each with its own .venv that
# hetctl is installed in. Stopped and started again, it goes on where it was.
#
#   ci/measure.sh MODEL RESULTS [options of hetctl bench]
#
# ROUNDS (5): runs of each side; the gate needs five.
set -eu
: "${BASE:?a folder}" "${CURRENT:?a folder}" "${ROUNDS:=5}"
[ $# -ge 2 ] || { echo "usage: $0 MODEL RESULTS [options of hetctl bench]" >&2; exit 2; }
model=$(realpath -- "$1"); mkdir -p -- "$2"; results=$(realpath -- "$2"); shift 2

runs() {  # How many runs of a side there are; each of the loads of a sweep has a file of its own.
  find "$results/$1/raw" -name '*.json' 2>/dev/null | sed 's/.*-//' | sort -u | wc -l
}

for round in $(seq "$ROUNDS"); do
  for side in base current; do
    [ "$(runs $side)" -lt "$round" ] || continue
    [ $side = base ] && checkout=$BASE || checkout=$CURRENT
    echo "round $round of $ROUNDS: $side"
    # The commit is taken from the folder that hetctl is started in. What one run teaches must not
    # change the plan of the next.
    (cd "$checkout" && .venv/bin/hetctl bench "$model" --out "$results/$side" --append \
      --no-corrections "$@")
  done
done
