#!/usr/bin/env bash
# Stops a private PostgreSQL that a demo left behind, and removes the demo's folder.
#
#   scripts/demo-clean.sh DIR SANDBOX
#
# SANDBOX, where it is built, knows how to clean up after itself; this does the rest
# where it is not, or could not.
set -euo pipefail

dir=${1:?usage: demo-clean.sh DIR SANDBOX}
sandbox=${2:-}

# A postmaster's first line is its process id, its second the data folder: a number
# that was given to another program since must not be ended.
stop_cluster() {
    local pid_file=$1 data pid
    data=$(cd "$(dirname "$pid_file")" && pwd -P)
    pid=$(sed -n 1p "$pid_file")
    if [[ ! $pid =~ ^[0-9]+$ ]] || ! kill -0 "$pid" 2>/dev/null; then return 0; fi
    if [ "$(readlink "/proc/$pid/cwd")" != "$data" ]; then return 0; fi
    echo "demo-clean: stopping PostgreSQL in $data"
    kill -INT "$pid" # fast shutdown
    # `tail --pid` returns when the process is gone.
    timeout 30 tail --pid="$pid" -f /dev/null || kill -QUIT "$pid"
}

if [ ! -e "$dir" ]; then
    echo "demo-clean: nothing to do, $dir does not exist"
    exit 0
fi
if [ -x "$sandbox" ]; then
    "$sandbox" demo --clean --dir "$dir" || echo "demo-clean: going on without $sandbox" >&2
fi
if [ -e "$dir" ]; then
    while IFS= read -r -d '' pid_file; do
        stop_cluster "$pid_file"
    done < <(find "$dir" -name postmaster.pid -print0)
    rm -rf -- "$dir"
fi
echo "demo-clean: removed $dir"
