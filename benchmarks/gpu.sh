#!/bin/sh
# What only a machine with a GPU can show, step by step: tests on the device, then the tables of
# docs/results. Each step has a time limit and a log of its own in OUT, and a step that fails does not
# keep the others from running; a summary comes last. Needs `hetctl kernels install` before.
#
#   sh benchmarks/gpu.sh                          # all steps, about an hour and a half on one H200
#   sh benchmarks/gpu.sh collectives hops runtime # these, in this order
#   SECONDS_LEFT=540 sh benchmarks/gpu.sh         # those that still fit; the others are named
#
# Steps: collectives one-gpu tensor-parallel strategies telemetry-test calibrate-test doctor (tests/gpu)
#        hops all-reduce counting cpu-linear cpu-stage runtime threads telemetry         (docs/results)
#        calibrate accuracy sweep                                               (planner, reports)
set -u
: "${OUT:=gpu-out}" "${PYTHON:=python}" "${MODEL:=benchmarks/llama_8b}"
cd "$(dirname "$0")/.." || exit
mkdir -p "$OUT"
began=$(date +%s)
summary=$OUT/summary.txt
: > "$summary"

all="collectives one-gpu tensor-parallel hops all-reduce counting runtime threads cpu-linear cpu-stage \
strategies telemetry-test doctor calibrate-test calibrate telemetry accuracy sweep"

# step SECONDS COMMAND...: the step's limit, and what it runs.
step() {
  limit=$1
  shift
  spent=$(($(date +%s) - began))
  if [ $((spent + limit)) -gt "${SECONDS_LEFT:-1000000}" ]; then
    echo "$name: left out, it may take $limit s and $((SECONDS_LEFT - spent)) are left" >> "$summary"
    return
  fi
  start=$(date +%s)
  timeout --kill-after=30 "$limit" "$@" > "$OUT/$name.log" 2>&1
  code=$?
  case $code in
    0) said="done" ;;
    124 | 137) said="ran past its $limit s" ;;
    *) said="failed (exit $code)" ;;
  esac
  echo "$name: $said after $(($(date +%s) - start)) s" >> "$summary"
  tail -n 1 "$summary"
}

tests() { step "$1" "$PYTHON" -m pytest -q -p no:cacheprovider -m gpu "tests/gpu/$2"; }

# The model's shape with the demo model's tokenizer, for a server: it has no weights, and needs none.
served_model() {
  [ -e "$OUT/model/tokenizer.json" ] && return
  "$PYTHON" -m hetctl model tiny "$OUT/tiny" > /dev/null
  mkdir -p "$OUT/model"
  cp "$MODEL/config.json" "$OUT/tiny"/token* "$OUT/model"
}

for name in ${*:-$all}; do
  case $name in
    collectives) tests 180 test_collectives.py ;;
    one-gpu) tests 420 test_one_gpu.py ;;
    tensor-parallel) tests 400 test_tensor_parallel.py ;;
    strategies) tests 590 test_strategies.py ;;
    telemetry-test) tests 200 test_telemetry.py ;;
    doctor) tests 200 test_doctor.py ;;
    calibrate-test) tests 400 test_calibrate.py ;;
    calibrate)
      step 300 "$PYTHON" -m hetctl probe --calibrate --save "$OUT/machine.json" ;;
    hops) step 120 "$PYTHON" benchmarks/hops.py ;;
    all-reduce) step 120 "$PYTHON" benchmarks/collectives.py ;;
    counting) step 60 "$PYTHON" benchmarks/metrics.py ;;
    cpu-linear) step 150 "$PYTHON" benchmarks/cpu_linear.py ;;
    cpu-stage) step 200 "$PYTHON" benchmarks/cpu_stage.py ;;
    runtime)
      step 500 "$PYTHON" benchmarks/runtime.py --engines hybrid,prefetch,gpu \
        --json "$OUT/runtime.json" ;;
    threads)
      # One compute thread less for each process that polls, against one less in all, in turn.
      most=$(($(nproc) - 1))
      step 520 sh -c "for i in 1 2; do for n in $((most - 1)) $most; do echo \"\$n threads\"; \
        '$PYTHON' benchmarks/runtime.py --engines hybrid --sequences 1,8 --cpu-threads \$n; \
        done; done" ;;
    telemetry)
      served_model
      step 300 "$PYTHON" benchmarks/telemetry.py "$OUT/tiny" ;;
    accuracy)
      step 590 "$PYTHON" benchmarks/planner_accuracy.py "$OUT/planner-runs.json" --seconds 560 \
        --gpu-memory 16GiB --only prefetch,pipeline,auto ;;
    sweep)
      # Started again with the same OUT it goes on where it was.
      served_model
      if [ -e "$OUT/sweep/results.json" ]; then
        step 1800 "$PYTHON" -m hetctl bench --resume "$OUT/sweep"
      else
        step 1800 "$PYTHON" -m hetctl bench "$OUT/model" --compare --gpu-memory 12GiB \
          --concurrency 1,2,4,8,16,32,64 --out "$OUT/sweep" -- --load-format dummy
      fi ;;
    *)
      echo "$name is no step; the steps are: $all" >&2
      exit 2 ;;
  esac
done
echo
cat "$summary"
! grep -qv ": done" "$summary"
