#!/usr/bin/env bash
# Loads public data through the definitions in this folder, and prints a table of what
# its README says, what its files hold and what PostgreSQL holds. Ends with 1 where
# they differ.
#
#   examples/run-real-input.sh DIR [--write]
#
# DIR holds the data: orders.csv, order_details.csv, pizzas.csv, pizza_types.csv,
# coffee_chain.xlsx and their README.md. --write puts the table into examples/README.md.
# STOREKEEPER names the program; default: target/debug/storekeeper. What is in
# DIR/README.md is read, not believed: the files are counted and added up a second time
# by measure.py, which shares nothing with the program.
#
# Everything is loaded into a private PostgreSQL in a folder of its own, which is
# removed at the end. Needs python3, psql and flock.
set -euo pipefail

usage='usage: run-real-input.sh DIR [--write]'
data=$(cd "${1:?$usage}" && pwd)
write=${2:-}
case $write in '' | --write) ;; *) echo "$usage" >&2; exit 2 ;; esac
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(readlink -f "${STOREKEEPER:-$examples/../target/debug/storekeeper}")
if [ ! -x "$program" ]; then
    echo "run-real-input: $program is not there: build it (cargo build), or set STOREKEEPER" >&2
    exit 2
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/storekeeper-real-input-XXXXXX")
# PostgreSQL runs as another user when we are root: that user must be able to enter.
chmod 755 "$work"
unset STOREKEEPER__DATABASE__URL
export STOREKEEPER__INSTALLATION__DATA_DIR=$work/data STOREKEEPER__LOG__FILTER=warn
postgres=$work/data/postgres
mkdir -p "$postgres"

# The private server runs for as long as somebody holds this lock: it must not stop
# before the figures are read. Programs started from here do not inherit it.
exec 9>"$postgres/in-use.lock"
flock --shared 9
# shellcheck disable=SC2317 # called by the trap
clean() {
    exec 9>&-
    # The supervisor lets go of its lock when the server is down.
    if [ -e "$postgres/supervisor.lock" ]; then flock --timeout 60 "$postgres/supervisor.lock" true || true; fi
    rm -rf -- "$work"
}
trap clean EXIT

storekeeper() {
    local definitions=$examples/$1
    shift
    "$program" --config "$definitions/config.toml" --definitions "$definitions" --format json "$@" 9>&-
}

load() { # definitions, pipeline, file
    storekeeper "$1" run "$2" --file "$data/$3" >"$work/$2.run.json" || {
        cat "$work/$2.run.json" >&2
        exit 1
    }
}

ask() { # name of the figure, SQL
    printf '%s\t%s\n' "$1" "$(PGPASSWORD=$(cat "$postgres/password") psql -XAtq -h 127.0.0.1 \
        -p "$(cat "$postgres/ready")" -U storekeeper -d storekeeper -v ON_ERROR_STOP=1 -c "$2" 9>&-)"
}

storekeeper restaurant db migrate >/dev/null
for pipeline in pizza_types pizzas orders order_details; do load restaurant "$pipeline" "$pipeline.csv"; done
for pipeline in products locations budget_actual; do load coffee_chain "$pipeline" coffee_chain.xlsx; done

{
    ask orders.rows 'SELECT count(*) FROM mart_restaurant.orders'
    ask orders.days 'SELECT count(DISTINCT ordered_on) FROM mart_restaurant.orders'
    ask details.rows 'SELECT count(*) FROM mart_restaurant.order_details'
    ask details.quantity 'SELECT sum(quantity) FROM mart_restaurant.order_details'
    ask details.sales 'SELECT sum(sales) FROM mart_restaurant.sales_by_day'
    ask pizzas.rows 'SELECT count(*) FROM mart_restaurant.pizzas'
    ask types.rows 'SELECT count(*) FROM mart_restaurant.pizza_types'
    ask facts.rows 'SELECT count(*) FROM mart_coffee_chain.budget_actual'
    ask facts.columns "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'mart_coffee_chain'
        AND table_name = 'budget_actual' AND column_name NOT IN ('load_id', 'file_id', 'source_row')"
    ask facts.sales 'SELECT sum(sales) FROM mart_coffee_chain.sales_against_budget'
    ask facts.budget 'SELECT sum(budget_sales) FROM mart_coffee_chain.sales_against_budget'
    ask product.rows 'SELECT count(*) FROM mart_coffee_chain.products'
    ask location.rows 'SELECT count(*) FROM mart_coffee_chain.locations'
    ask quarantined 'SELECT coalesce(sum(rows_quarantined), 0) FROM ops.runs'
} >"$work/loaded.tsv"

python3 "$examples/measure.py" "$data" "$work/loaded.tsv" >"$work/table.md" && same=0 || same=$?
cat "$work/table.md"
if [ "$same" = 0 ] && [ "$write" = --write ]; then
    python3 "$examples/measure.py" --write "$work/table.md" "$examples/README.md"
fi
exit "$same"
