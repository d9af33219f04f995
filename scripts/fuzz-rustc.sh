#!/usr/bin/env bash
# Compiles as cargo says, with the coverage that libFuzzer steers by. Cargo calls it for
# the crates of the fuzz package only.
exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
