#!/usr/bin/env bash
# Ours against statsforecast and statsmodels on generated panels, or on one of your own.
# usage: run.sh BINARY FOLDER
#   SEEDS="7 8"       panels to generate          STORES=6      four series each
#   PANEL=FILE.csv    a panel of your own instead: series,date,value[,group,holiday,promo,school,closed,known_on]
#   WITHOUT=a,b       effects switched off (promotions holidays closures gaps shifts school outliers young season weather renovations)
#   END=2026-01-11    the panels' last day       PEERS=auto_arima,auto_ets,sarimax_x,seasonal_naive
#   NIGHTLY=1000      series for the measure of speed (0: none)
set -euo pipefail
binary=$1 folder=$2 here=$(cd "$(dirname "$0")" && pwd)
seeds=${SEEDS:-7 8} stores=${STORES:-6} peers=${PEERS:-auto_arima,auto_ets,sarimax_x,seasonal_naive}
mkdir -p "$folder"
if [[ ! -x $folder/venv/bin/python ]] || ! "$folder/venv/bin/python" -c 'import statsforecast, statsmodels' 2>/dev/null; then
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet statsforecast statsmodels
fi
python=$folder/venv/bin/python
"$python" -c 'import statsforecast, statsmodels; print("against statsforecast", statsforecast.__version__, "and statsmodels", statsmodels.__version__)'

measure() { # panel, name, what it was generated with
    local panel=$1 name=$2 floor=()
    shift 2
    if (($#)); then
        "$binary" floor "$@" >"$folder/$name.floor.csv"
        floor=("$folder/$name.floor.csv")
    fi
    # The peers' forecasts are kept: they take minutes, ours seconds. A changed panel drops them.
    if ! sha256sum --check --status "$folder/$name.sum" 2>/dev/null || [[ ! -s $folder/$name.peers.csv ]] ||
        [[ $(cat "$folder/$name.peers.names") != "$peers" ]]; then
        "$python" "$here/peers.py" "$panel" "$folder/$name.peers.csv" --peers "$peers"
        sha256sum "$panel" "$here/peers.py" >"$folder/$name.sum"
        echo "$peers" >"$folder/$name.peers.names"
    fi
    "$binary" backtest "$panel" "$folder/$name.ours.csv" >"$folder/$name.report.json"
    "$python" "$here/score.py" "$panel" "$folder/$name.ours.csv" "$folder/$name.peers.csv" "${floor[@]}" --title "$name: "
    "$binary" backtest "$panel" "$folder/$name.plain.csv" --plain >"$folder/$name.plain.json"
    "$python" "$here/score.py" "$panel" "$folder/$name.plain.csv" "$folder/$name.peers.csv" --plain --title "$name, ours without any calendar: "
}

if [[ -n ${PANEL:-} ]]; then
    measure "$PANEL" "$(basename "$PANEL" .csv)"
else
    for seed in $seeds; do
        with=(--seed "$seed" --stores "$stores" ${END:+--end "$END"} ${WITHOUT:+--without "$WITHOUT"})
        "$binary" generate "${with[@]}" >"$folder/seed$seed.csv"
        measure "$folder/seed$seed.csv" "seed$seed" "${with[@]}"
    done
fi
if [[ ${NIGHTLY:-1000} != 0 ]]; then
    echo
    "$binary" nightly --series "${NIGHTLY:-1000}" --threads 2
    "$binary" nightly --series "${NIGHTLY:-1000}" --threads 2 --reselect
fi
