#!/usr/bin/env python3
"""Public libraries on a panel's windows, written as forecasts in the form ours have.

usage: peers.py PANEL.csv OUT.csv --peers auto_arima,auto_ets,sarimax_x,seasonal_naive --horizon 28 --windows 4

They get what they can use. Days that the calendar knows closed and missing days are no zeros to them: they are
filled with the same weekday a week before (auto_arima, auto_ets, seasonal_naive) or left missing (sarimax*).
sarimax_x and sarimax_x_log are given the same regressors as ours: each holiday, its day before and after,
promotions with their first day and the day after, school holidays; and no day after the cut-off.
"""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import argparse
import time
import warnings

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
Z80, Z95 = 1.2815515655446004, 1.959963984540054


def cutoffs(panel, horizon, windows):
    last = panel.loc[panel.value.notna(), "date"].max()
    return [last - pd.Timedelta(days=horizon * (windows - at)) for at in range(windows)]


def filled(y, closed, weekday):
    """Gaps and closed days by the same weekday before; a weekday that is always closed stays zero."""
    y = y.copy()
    always = np.array([closed[weekday == day].mean() > 0.9 if (weekday == day).any() else False for day in range(7)])
    y[(closed == 1) & ~always[weekday]] = np.nan
    y[always[weekday] & np.isnan(y)] = 0.0
    for at in range(len(y)):
        if np.isnan(y[at]) and at >= 7:
            y[at] = y[at - 7]
    for at in range(len(y) - 1, -1, -1):
        if np.isnan(y[at]):
            y[at] = y[at + 7] if at + 7 < len(y) else np.nanmedian(y)
    return y


def auto_arima(y, horizon):
    from statsforecast.models import AutoARIMA

    return library(AutoARIMA(season_length=7, approximation=True), y, horizon)


def auto_ets(y, horizon):
    from statsforecast.models import AutoETS

    return library(AutoETS(season_length=7), y, horizon)


def library(model, y, horizon):
    made = model.forecast(y=y.astype(float), h=horizon, level=[80, 95])
    return made["mean"], made["lo-80"], made["hi-80"], made["lo-95"], made["hi-95"]


def seasonal_naive(y, horizon):
    from statsforecast.models import SeasonalNaive

    return library(SeasonalNaive(season_length=7), y, horizon)


def regressors(days, columns):
    promo = days.promo.fillna(0).to_numpy(float)
    before = np.r_[0.0, promo[:-1]]
    made = {"promo": promo, "promo_first": promo * (before == 0), "promo_after": (promo == 0) * (before > 0),
            "school": days.school.fillna(0).to_numpy(float)}
    holiday = days.holiday.fillna("").to_numpy(str)
    for name in sorted(set(holiday) - {""}):
        on = (holiday == name).astype(float)
        made[f"h {name}"], made[f"h {name}-1"], made[f"h {name}+1"] = on, np.r_[on[1:], 0.0], np.r_[0.0, on[:-1]]
    table = pd.DataFrame(made).astype(float)
    return table if columns is None else table.reindex(columns=columns, fill_value=0.0)


def sarimax(y, horizon, x=None, future=None, log=False):
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    # statsmodels shows its own again when it is imported.
    warnings.filterwarnings("ignore")

    shift = y
    if log:
        shift = np.log(np.where(y > 0, y, np.nan))
    model = SARIMAX(shift, exog=x, order=(1, 0, 1), seasonal_order=(0, 1, 1, 7))
    made = model.fit(disp=0, maxiter=50).get_forecast(horizon, exog=future)
    mean, deviation = np.asarray(made.predicted_mean), np.asarray(made.se_mean)
    bounds = [mean - Z80 * deviation, mean + Z80 * deviation, mean - Z95 * deviation, mean + Z95 * deviation]
    return tuple(np.exp(one) for one in [mean, *bounds]) if log else (mean, *bounds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("panel")
    parser.add_argument("out")
    parser.add_argument("--peers", default="auto_arima,auto_ets,sarimax_x,seasonal_naive")
    parser.add_argument("--horizon", type=int, default=28)
    parser.add_argument("--windows", type=int, default=4)
    arguments = parser.parse_args()
    panel = pd.read_csv(arguments.panel, parse_dates=["date"], dtype={"series": str}, keep_default_na=True)
    for column in ("promo", "school", "closed", "holiday"):
        if column not in panel:
            panel[column] = "" if column == "holiday" else 0
    cuts = cutoffs(panel, arguments.horizon, arguments.windows)
    rows, spent, failed = [], {}, 0
    for name in arguments.peers.split(","):
        # Imports and compilation are no part of a fit.
        warm = np.tile(np.arange(7.0) + 5, 20) + np.random.default_rng(1).normal(size=140)
        globals()[name.replace("_x_log", "").replace("_x", "")](warm, 7)
        started = time.process_time()
        for series, days in panel.groupby("series", sort=True):
            days = days.set_index("date").sort_index()
            days = days.reindex(pd.date_range(days.index.min(), days.index.max()))
            days["date"] = days.index
            for window, cut in enumerate(cuts):
                past = days[days.index <= cut]
                if past.value.notna().sum() < 14:
                    continue
                y, closed = past.value.to_numpy(float), past.closed.fillna(0).to_numpy(int)
                weekday = past.index.dayofweek.to_numpy()
                whole = filled(y, closed, weekday)
                try:
                    if name.startswith("sarimax"):
                        log = name.endswith("_log") and np.nanmean(y[closed == 0] > 0) > 0.85
                        gaps = np.where(closed == 1, np.nan, y)
                        x = future = None
                        if "_x" in name:
                            table = regressors(days[days.index <= cut + pd.Timedelta(days=arguments.horizon)], None)
                            x, future = table[: len(past)], table[len(past) :]
                            seen = [one for one in x.columns if x.loc[~np.isnan(gaps), one].abs().sum() > 0]
                            x, future = x[seen].to_numpy(), future[seen].to_numpy()
                        made = sarimax(gaps, arguments.horizon, x, future, log)
                    else:
                        made = globals()[name](whole, arguments.horizon)
                    if not np.isfinite(np.asarray(made[0])).all():
                        raise ValueError("not finite")
                except Exception:
                    failed += 1
                    made = seasonal_naive(whole, arguments.horizon)
                for ahead in range(arguments.horizon):
                    date = cut + pd.Timedelta(days=ahead + 1)
                    values = [float(np.asarray(one)[ahead]) for one in made]
                    rows.append((name, series, window, date.date(), ahead + 1, values[0], values[0], *values[1:]))
        spent[name] = time.process_time() - started
        print(f"{name}: {spent[name]:.1f} CPU seconds, {failed} fits failed and fell back to the seasonal naive", flush=True)
    columns = "model series window date lead median mean lo80 hi80 lo95 hi95".split()
    pd.DataFrame(rows, columns=columns).to_csv(arguments.out, index=False)
    fits = panel.series.nunique() * arguments.windows
    pd.DataFrame([(name, seconds, fits) for name, seconds in spent.items()], columns=["model", "cpu", "fits"]).to_csv(
        arguments.out + ".cpu", index=False
    )


if __name__ == "__main__":
    main()
