#!/usr/bin/env python3
"""Scores forecasts of any model on a panel, all by the same code, and prints one table.

usage: score.py PANEL.csv FORECASTS.csv... [--plain] [--title TEXT] [--json FILE]

Scored are open, observed days. MASE, WAPE, coverage and MSIS judge the median, RMSSE and bias the mean; models that
publish one figure are judged by that in both. The scale is the history's up to the cut-off, on the same days.
A model named `floor` knew how the panel was generated: what is left of its error is chance.
"""
import argparse
import json

import numpy as np
import pandas as pd

GOALS = [
    ("MASE against auto_arima", "auto_arima", 0.75),
    ("MASE against auto_ets", "auto_ets", 0.80),
    ("MASE against sarimax_x", "sarimax_x", 1.00),
]


def scored(panel, forecasts):
    days = panel.set_index(["series", "date"])
    joined = forecasts.drop(columns=[name for name in days if name in forecasts]).join(days, on=["series", "date"])
    kind = joined.series.str.rsplit("_", n=1).str[-1]
    open_ = (joined.closed.fillna(0) == 0) & joined.value.notna() & ((joined.value > 0) | (kind == "catering"))
    joined = joined[open_].copy()
    joined["kind"] = kind[open_]
    near = panel.sort_values(["series", "date"])
    holiday = near.holiday.fillna("").ne("")
    group = holiday.groupby(near.series)
    near_holiday = holiday | group.shift(1, fill_value=False) | group.shift(-1, fill_value=False)
    near = near.assign(day=np.where(near_holiday, "holiday", np.where(near.promo.fillna(0) > 0, "promotion", "normal")))
    return joined.join(near.set_index(["series", "date"]).day, on=["series", "date"])


def scales(panel, cuts):
    made = {}
    for series, days in panel.groupby("series"):
        days = days.set_index("date").sort_index()
        days = days.reindex(pd.date_range(days.index.min(), days.index.max()))
        zeros = series.rsplit("_", 1)[-1] != "catering"
        y = days.value.where(days.closed.fillna(0) == 0)
        y = y.where(y > 0) if zeros else y
        for window, cut in enumerate(cuts):
            past = y[y.index <= cut].to_numpy()
            season, one = np.abs(past[7:] - past[:-7]), past[1:] - past[:-1]
            made[series, window] = (np.nanmean(season) if np.isfinite(season).any() else np.nan,
                                    np.sqrt(np.nanmean(one**2)) if np.isfinite(one).any() else np.nan)
    return made


def table(joined, scale):
    rows = []
    joined = joined.assign(absolute=(joined["median"] - joined.value).abs(), square=(joined["mean"] - joined.value) ** 2,
                           off=joined["mean"] - joined.value, off_mean=(joined["mean"] - joined.value).abs(),
                           in80=((joined.lo80 <= joined.value) & (joined.value <= joined.hi80)).where(joined.lo80.notna()),
                           in95=((joined.lo95 <= joined.value) & (joined.value <= joined.hi95)).where(joined.lo95.notna()))
    joined["interval"] = joined.hi95 - joined.lo95 + 40 * (
        (joined.lo95 - joined.value).clip(lower=0) + (joined.value - joined.hi95).clip(lower=0))
    for model, days in joined.groupby("model", sort=False):
        each = days.groupby(["series", "window"]).agg(
            absolute=("absolute", "mean"), square=("square", "mean"), in80=("in80", "mean"), in95=("in95", "mean"),
            interval=("interval", "mean"), off_mean=("off_mean", "mean"))
        absolute = np.array([scale[key][0] for key in each.index])
        square = np.array([scale[key][1] for key in each.index])
        kind = each.index.get_level_values(0).str.rsplit("_", n=1).str[-1]
        mase = each.absolute / absolute
        row = {"model": model, "MASE": mase.mean(), "MASE (mean)": (each.off_mean / absolute).mean(),
               "RMSSE": (np.sqrt(each.square) / square).mean(),
               "WAPE": days.absolute.sum() / days.value.sum()}
        for day in ("normal", "promotion", "holiday"):
            part = days[days.day == day]
            row[f"WAPE {day}"] = part.absolute.sum() / part.value.sum() if len(part) else np.nan
        row |= {"bias": days.off.sum() / days.value.sum(), "cov80": each.in80.mean(), "cov95": each.in95.mean(),
                "MSIS": (each.interval / absolute).mean()}
        for one in sorted(set(kind)):
            row[f"MASE {one}"] = mase[kind == one].mean()
        rows.append(row)
    return pd.DataFrame(rows).set_index("model")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("panel")
    parser.add_argument("forecasts", nargs="+")
    parser.add_argument("--json")
    parser.add_argument("--title", default="")
    parser.add_argument("--plain", action="store_true", help="ours had no calendar: the goal is 0.95 of auto_arima")
    arguments = parser.parse_args()
    panel = pd.read_csv(arguments.panel, parse_dates=["date"], dtype={"series": str})
    forecasts = pd.concat([pd.read_csv(file, parse_dates=["date"], dtype={"series": str}) for file in arguments.forecasts])
    cuts = (forecasts.date - pd.to_timedelta(forecasts.lead, unit="D")).groupby(forecasts.window).first().sort_index()
    # A model that gave no forecast for a series is not compared on it; nor are the others.
    counts = forecasts.groupby(["series", "window"]).model.nunique()
    common = counts[counts == counts.max()].index
    forecasts = forecasts.set_index(["series", "window"]).loc[common].reset_index()
    made = table(scored(panel, forecasts), scales(panel, list(cuts)))
    cpu = []
    for file in arguments.forecasts:
        try:
            cpu.append(pd.read_csv(file + ".cpu"))
        except FileNotFoundError:
            pass
    if cpu:
        cpu = pd.concat(cpu).set_index("model")
        made["CPU s/fit"] = cpu.cpu / cpu.fits
    pd.set_option("display.width", 250, "display.max_columns", 30, "display.float_format", lambda value: f"{value:.3f}")
    print(f"\n{arguments.title}{len(common)} forecasts of {forecasts.series.nunique()} series, "
          f"cut-offs {', '.join(str(cut.date()) for cut in cuts)}")
    print(made.to_string())
    goals = [("MASE against auto_arima, no calendar", "auto_arima", 0.95)] if arguments.plain else GOALS
    ours = made.loc["ours"] if "ours" in made.index else None
    if ours is not None:
        regular = [column for column in made if column.startswith("MASE ") and "mean" not in column and "catering" not in column]
        for name, peer, most in goals:
            if peer in made.index:
                ratio = ours.MASE / made.loc[peer].MASE
                without = ours[regular].mean() / made.loc[peer][regular].mean()
                by_mean = ours["MASE (mean)"] / made.loc[peer]["MASE (mean)"]
                print(f"  {'met   ' if ratio <= most else 'MISSED'} {name}: {ratio:.3f} (goal {most:.2f}; "
                      f"with our means {by_mean:.3f}; without the intermittent kind {without:.3f})")
        if "floor" in made.index:
            print(f"  MASE is {ours.MASE / made.loc['floor'].MASE:.3f} of what is left to chance")
        for column, low, high in (("cov80", 0.77, 0.85), ("cov95", 0.93, 0.97)):
            print(f"  {'met   ' if low <= ours[column] <= high else 'MISSED'} {column}: {ours[column]:.3f} (goal {low}-{high})")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(made.reset_index().to_dict("records"), file, indent=1)


if __name__ == "__main__":
    main()
