#!/usr/bin/env bash
# Loads 1,000,000 rows of 13 columns from a CSV of some 100 MB, by `psql \copy` and by
# storekeeper, on one PostgreSQL of its own, in one run; prints wall time, the client's
# CPU time and peak memory, and the ratio to `\copy`. Then the same with ten times the
# rows, for how cost grows.
#
#   scripts/bench-load.sh PROGRAM [ROWS] [--grow]
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(realpath "$1")
rows=${2:-1000000}
grow=${3:-}
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
here=$PWD
dir=$(mktemp -d /tmp/storekeeper-bench-XXXXXX)
as_server() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$dir"
    as_server() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
fi
stop() {
    as_server "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
    cd / && rm -rf "$dir"
}
trap stop EXIT
cd "$dir"
# As Debian sets a server up, but for the room for its log: both sides write the same.
as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C >/dev/null
port=$((20000 + RANDOM % 20000))
as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -w \
    -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_wal_size=8GB -c shared_buffers=512MB" \
    start >/dev/null
url="postgres://postgres@127.0.0.1:$port/postgres"
export STOREKEEPER__DATABASE__URL=$url PGOPTIONS=--client-min-messages=warning
sql() { psql "$url" -XqAt -c "$1"; }

mkdir -p work/pipelines/sales work/sql/marts
cp -r "$here/sql/migrations" work/sql/
cat >work/config.toml <<'TOML'
[installation]
name = "bench"
data_dir = "data"
[brands.harbor]
title = "Harbor"
time_zone = "UTC"
TOML
cat >work/pipelines/sales/pipeline.toml <<'TOML'
title = "Sales by hour"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "business_date", "hour", "channel"]
columns = [
    { name = "store_id", type = "store_id" },
    { name = "business_date", type = "date", rules = [{ kind = "required" }] },
    { name = "hour", type = "integer", rules = [{ kind = "range", min = 0, max = 23 }] },
    { name = "daypart", type = "text", rules = [{ kind = "accepted", values = ["Morning", "Lunch", "Dinner", "Late"] }] },
    { name = "channel", type = "text" },
    { name = "net_sales", type = "decimal(14,2)", rules = [{ kind = "required" }] },
    { name = "gross_sales", type = "decimal(14,2)" },
    { name = "discounts", type = "decimal(14,2)" },
    { name = "orders", type = "integer" },
    { name = "guests", type = "integer" },
    { name = "labor_hours", type = "decimal(10,2)" },
    { name = "manager_code", type = "text" },
    { name = "note", type = "text" },
]
[destination]
table = "sales"
write_disposition = "merge"
partition_by = "business_date"
TOML

# ROWS lines; of every EVERY-th the sales differ by one.
generate() {
    awk -v rows="$1" -v every="$2" 'BEGIN {
        split("Counter Delivery Drive Online", channel, " ")
        split("Morning Lunch Dinner Late", daypart, " ")
        print "store_id,business_date,hour,daypart,channel,net_sales,gross_sales,discounts,orders,guests,labor_hours,manager_code,note"
        for (n = 0; n < rows; n++) {
            part = n % 4; hour = int(n / 4) % 20 + 4; store = int(n / 80) % 50; day = int(n / 4000)
            month = int(day / 28); cents = (n * 7919) % 90000 + 1000
            if (every && n % every == 0) cents += 100
            printf "%06d,%d-%02d-%02d,%d,%s,%s,%d.%02d,%d.%02d,%d.00,%d,%d,%d.25,m%05d,some words about row %07d\n",
                100 + store, 2015 + int(month / 12), month % 12 + 1, day % 28 + 1, hour, daypart[part + 1], channel[part + 1],
                cents / 100, cents % 100, cents / 90, cents % 90, cents % 7, cents % 40, cents % 60, cents % 9, store * 13, n
        }
    }'
}

# NAME COMMAND...: runs it and prints a line.
measure() {
    local name=$1
    shift
    if ! /usr/bin/time -o figures -f '%e %U %S %M' "$@" >answer 2>log; then
        cat answer log >&2
        exit 1
    fi
    read -r wall user system peak <figures
    # The first of a round is what the others are compared with.
    [ -e "$dir/baseline" ] || printf '%s' "$wall" >"$dir/baseline"
    awk -v name="$name" -v wall="$wall" -v user="$user" -v sys="$system" -v peak="$peak" -v base="$(cat "$dir/baseline")" 'BEGIN {
        printf "  %-46s %7.2f s wall  %6.2f s client CPU  %6.0f MB peak  %5.2f x \\copy\n", name, wall, user + sys, peak / 1024, wall / base
    }'
}

ours() {
    local name=$1
    shift
    (cd work && measure "$name" "$program" --config config.toml --definitions . --format json run sales --file "$@")
    grep -E '"rows_(inserted|updated|unchanged|quarantined)"' work/answer | tr -d '\n' | sed 's/  */ /g; s/^/      /; s/,$/\n/'
}

round() {
    local rows=$1
    rm -f "$dir/baseline"
    generate "$rows" 0 >work/sales.csv
    generate "$rows" 10 >work/tenth.csv
    generate "$rows" 1 >work/all.csv
    printf '%s rows, 13 columns, %s MB\n' "$rows" "$(($(stat -c %s work/sales.csv) / 1000000))"
    sql 'DROP TABLE IF EXISTS plain; CREATE TABLE plain (store_id text, business_date date, hour bigint, daypart text,
         channel text, net_sales numeric(14,2), gross_sales numeric(14,2), discounts numeric(14,2), orders bigint,
         guests bigint, labor_hours numeric(10,2), manager_code text, note text)'
    measure '\copy into a table without any index' psql "$url" -Xq -c "\\copy plain from 'work/sales.csv' with (format csv, header)"
    sql 'DROP TABLE plain'
    ours 'ours, into an empty table' sales.csv
    ours 'ours, the unchanged file again' sales.csv
    ours 'ours, into the full table, every row the same' sales.csv --full
    ours 'ours, into the full table, every tenth differs' tenth.csv
    ours 'ours, into the full table, every row differs' all.csv
    test "$(sql 'SELECT count(*) FROM mart_harbor.sales')" = "$rows"
    sql 'DROP SCHEMA mart_harbor CASCADE; DROP SCHEMA history_harbor CASCADE; TRUNCATE ops.loads, ops.files CASCADE'
}

(cd work && "$program" --config config.toml --definitions . db migrate >/dev/null)
round "$rows"
if [ "$grow" = --grow ]; then round "$((rows * 10))"; fi
