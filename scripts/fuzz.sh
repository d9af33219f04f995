#!/usr/bin/env bash
# Runs each fuzz target for SECONDS_EACH (default 60), all at once. libFuzzer on the stable
# toolchain: the coverage it steers by comes from LLVM's own pass, over our code only, so
# that the dependencies are those of the benches, built once. What is found stays in
# target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-60}
export CARGO_TARGET_DIR=$PWD/target/measure
RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/fuzz-rustc.sh \
    cargo build --release --locked --manifest-path fuzz/Cargo.toml

declare -A running
# A page, a batch or a few lines say what there is to say in 8 KiB; a workbook is larger.
declare -A longest=([csv]=16384 [xlsx]=65536 [batch]=16384 [quick_xor]=8192 [delta]=8192)
for target in csv xlsx batch quick_xor delta; do
    mkdir -p "target/fuzz/corpus/$target" target/fuzz/found
    "target/measure/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len="${longest[$target]}" \
        -artifact_prefix="target/fuzz/found/$target-" -print_final_stats=1 \
        "target/fuzz/corpus/$target" "fuzz/seeds/$target" >"target/fuzz/$target.log" 2>&1 &
    running[$target]=$!
done

failed=0
for target in "${!running[@]}"; do
    log=target/fuzz/$target.log
    if wait "${running[$target]}"; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        edges=$(sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p' "$log")
        echo "$target: $runs executions in $seconds s, $edges edges reached, nothing found"
    else
        echo "$target: FAILED, see $log" >&2
        grep -m3 -A1 -E 'panicked|SUMMARY|Test unit written' "$log" >&2 || tail -5 "$log" >&2
        failed=1
    fi
done
exit "$failed"
