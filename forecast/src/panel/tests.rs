//! The panel as a whole, on generated chains.

use std::sync::Arc;

use chrono::{Days, NaiveDate};

use super::choose::{Choice, Trial, choose};
use super::study::{Candidate, Outcome, study};
use super::*;
use crate::calendar::{Event, Kind};
use crate::generator::{Generated, Plan, Random};
use crate::regression::{Effect, Pool};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn as_series(generated: &Generated) -> Series {
    let values = generated.rows.iter().map(|row| row.value.unwrap_or(f64::NAN)).collect();
    let mut series = Series::new(&generated.id, generated.kind, generated.rows[0].date, values);
    for row in &generated.rows {
        let mut add = |kind, name: &str| {
            series.events.push(Event { known_on: row.known_on, ..Event::on(kind, name, row.date) });
        };
        if !row.holiday.is_empty() {
            add(Kind::Holiday, row.holiday);
        }
        for (on, kind) in [(row.promotion, Kind::Promotion), (row.school, Kind::School), (row.closed, Kind::Closure)] {
            if on {
                add(kind, "");
            }
        }
    }
    series
}

fn chain(seed: u64, stores: usize, days: usize, end: &str, kind: &str, without: &[&str]) -> Vec<Series> {
    let plan = Plan {
        days,
        end: day(end),
        kinds: vec![kind.to_owned()],
        without: without.iter().map(|one| (*one).to_owned()).collect(),
        ..Plan::standard(seed, stores)
    };
    plan.series().iter().map(as_series).collect()
}

/// Weekly sales of 1000 with a little of everything that is no effect.
fn steady(id: &str, days: usize, end: NaiveDate) -> Series {
    let noise = |at: usize| 0.05 * ((at * 7919 % 101) as f64 / 50.0 - 1.0);
    let first = end - Days::new(days as u64 - 1);
    let weekday = [0.9, 0.9, 0.95, 1.0, 1.2, 1.3, 0.8];
    let values = (0..days).map(|at| 1000.0 * weekday[at % 7] * (1.0 + noise(at))).collect();
    Series::new(id, "sales", first, values)
}

fn forecasts(series: &[Series], options: &Options) -> Vec<Forecast> {
    let knowledge = learn(series.iter().cloned(), options, 1);
    let mut made = Vec::new();
    forecast(series.iter().cloned(), &knowledge, options, |one| made.push(one));
    made
}

fn quick(cutoff: NaiveDate) -> Options {
    Options { horizon: 14, origins: 0, ..Options::at(cutoff) }
}

#[test]
fn what_was_put_into_a_chain_is_found_in_it() {
    let series = chain(11, 10, 760, "2025-12-31", "sales", &["young"]);
    let knowledge = learn(series.into_iter(), &quick(day("2025-12-31")), 1);
    let pool = knowledge.pool().unwrap();
    let mean = |effect: Effect| pool.effect("sales", &effect).unwrap().mean();
    let holiday = |name: &str, offset: i8| mean(Effect::Holiday(Arc::from(name), offset));
    // The generator's: 0.19 for a promotion and 0.05 more on weekends, fading; see its table of holidays.
    let promotion = mean(Effect::Promotion) + mean(Effect::PromotionOn(2));
    assert!((promotion - 0.17).abs() < 0.05, "promotion {promotion}");
    assert!(mean(Effect::PromotionOn(5)) > mean(Effect::PromotionOn(1)));
    assert!((holiday("halloween", 0) - 0.25).abs() < 0.12, "{}", holiday("halloween", 0));
    assert!((holiday("thanksgiving", -1) - 0.28).abs() < 0.15, "{}", holiday("thanksgiving", -1));
    assert!(holiday("valentines", 0) > 0.15 && holiday("easter", 0) < -0.2);
    assert!(mean(Effect::PromotionAfter) < 0.0);
}

#[test]
fn a_new_store_inherits_what_its_group_knows() {
    let cutoff = day("2025-11-20");
    let mut series = chain(12, 8, 760, "2025-11-20", "sales", &["young", "shifts", "outliers", "renovations"]);
    let new = &mut series[0];
    let feast = day("2025-11-26");
    // Thirty days old, and its first Thanksgiving is near; the calendar reaches ahead.
    new.values.drain(..new.values.len() - 30);
    new.first = cutoff - Days::new(29);
    for one in &mut series {
        one.events.push(Event::on(Kind::Holiday, "thanksgiving", feast.succ_opt().unwrap()));
    }
    let made = forecasts(&series, &quick(cutoff));
    let new = &made[0];
    assert_eq!((new.model, new.status), (Some(Model::Young), Status::Fallback));
    assert!(new.fallback_reason.as_ref().unwrap().starts_with("young: "));
    let inherited = |forecast: &Forecast| {
        let point = forecast.points.iter().find(|point| point.date == feast).unwrap();
        point.because.parts.iter().find(|(part, _)| *part == crate::regression::Part::Holiday).unwrap().1
    };
    // The eve is 0.28 on average, and stores differ.
    assert!((inherited(new) - 0.28).abs() < 0.15, "{}", inherited(new));
    let alone = forecasts(&series[..1], &quick(cutoff));
    assert!(inherited(&alone[0]).abs() < 0.02, "a store alone knows nothing of it");
}

#[test]
fn a_promotion_that_became_known_after_the_cutoff_is_not_used() {
    let cutoff = day("2025-06-01");
    let mut plain = steady("a", 300, cutoff);
    for week in [5, 12, 20, 30, 38] {
        let first = plain.first + Days::new(week * 7);
        plain.events.push(Event::on(Kind::Promotion, "", first).until(first + Days::new(5)));
        for at in 0..6 {
            plain.values[(week * 7 + at) as usize] *= 1.3;
        }
    }
    let coming = Event::on(Kind::Promotion, "", day("2025-06-04")).until(day("2025-06-08"));
    let with = |event: Event| {
        let mut series = plain.clone();
        series.events.push(event);
        forecasts(&[series], &quick(cutoff)).remove(0)
    };
    let known = with(coming.clone().known_on(cutoff));
    let late = with(coming.known_on(day("2025-06-02")));
    let without = forecasts(&[plain.clone()], &quick(cutoff)).remove(0);
    assert_eq!(format!("{:?}", late.points), format!("{:?}", without.points));
    let lift = known.points[3].median / late.points[3].median;
    assert!((1.2..1.4).contains(&lift), "{lift}");
}

#[test]
fn one_thread_and_two_make_the_same_bytes() {
    let mut series = chain(13, 4, 330, "2025-09-30", "sales", &[]);
    series.extend(chain(13, 2, 330, "2025-09-30", "catering", &[]));
    let options = Options { origins: 1, ..Options::at(day("2025-09-30")) };
    let made = forecasts(&series, &options);
    for one in made.iter().filter(|one| one.champion.is_some()) {
        assert!(one.backtest.is_some_and(|scores| scores.days > 20 && scores.mase.unwrap() < 3.0), "{one:?}");
        assert!(!one.champion.as_ref().unwrap().scores.is_empty());
    }
    let one = format!("{made:?}");
    let two = format!("{:?}", forecasts(&series, &Options { threads: 2, ..options }));
    assert!(one == two, "the answers differ");
}

#[test]
fn intervals_hold_about_what_they_promise() {
    let series = chain(14, 8, 500, "2025-10-20", "guests", &["young", "season"]);
    let options = Options { origins: 1, horizon: 14, ..Options::at(day("2025-10-06")) };
    let knowledge = learn(series.iter().cloned(), &options, 1);
    let report = backtest(series.into_iter(), &knowledge, &options, 1, |_, _| {});
    let scores = &report.published.scores;
    assert!(scores.days > 90, "{scores:?}");
    assert!((0.6..0.95).contains(&scores.coverage_80.unwrap()), "{scores:?}");
    assert!((0.85..=1.0).contains(&scores.coverage_95.unwrap()), "{scores:?}");
    assert!(scores.mase.unwrap() < 0.8, "{scores:?}");
}

#[test]
fn a_level_shift_is_followed_and_flagged() {
    let cutoff = day("2025-06-01");
    let mut series = steady("a", 400, cutoff);
    let length = series.values.len();
    series.values[length - 20..].iter_mut().for_each(|value| *value *= 0.75);
    let made = forecasts(&[series], &quick(cutoff)).remove(0);
    assert!(made.flags.contains(&Flag::LevelShift), "{:?}", made.flags);
    let sum: f64 = made.points.iter().map(|point| point.median).sum();
    let expected = 750.0 * 2.0 * 7.05;
    assert!((sum / expected - 1.0).abs() < 0.05, "{sum} {expected}");
}

#[test]
fn missing_days_are_no_zeros_and_closed_days_are_forecast_as_nothing() {
    let cutoff = day("2025-06-01");
    let mut series = steady("a", 200, cutoff);
    let whole = forecasts(&[series.clone()], &quick(cutoff)).remove(0);
    for at in (3..190).step_by(9) {
        series.values[at] = f64::NAN;
    }
    series.values[100] = 0.0;
    series.events.push(Event::on(Kind::Closure, "", cutoff + Days::new(4)));
    let made = forecasts(&[series], &quick(cutoff)).remove(0);
    assert_eq!(made.states[3], DayState::Missing);
    assert_eq!(made.states[100], DayState::ClosedUnplanned);
    let closed = &made.points[3];
    assert!(closed.closed && closed.mean == 0.0 && closed.interval_95 == (0.0, 0.0));
    for (with, without) in made.points.iter().zip(&whole.points).filter(|(point, _)| !point.closed) {
        assert!((with.median / without.median - 1.0).abs() < 0.06, "{} {}", with.median, without.median);
    }
}

#[test]
fn a_store_that_never_sold_on_a_holiday_is_closed_on_the_next() {
    let cutoff = day("2025-12-10");
    let christmases = ["2023-12-25", "2024-12-25", "2025-12-25"].map(day);
    let on_the_next = |change: &dyn Fn(&mut Series, usize, usize)| {
        let mut one = steady("a", 800, cutoff);
        let at = |date: NaiveDate| (date - one.first).num_days() as usize;
        let (first, second) = (at(christmases[0]), at(christmases[1]));
        one.events.extend(christmases.map(|date| Event::on(Kind::Holiday, "christmas", date)));
        change(&mut one, first, second);
        let made = forecasts(&[one], &Options { horizon: 21, ..quick(cutoff) });
        made[0].points.iter().find(|point| point.date == christmases[2]).unwrap().clone()
    };
    let closed = on_the_next(&|one, first, second| [first, second].iter().for_each(|day| one.values[*day] = 0.0));
    assert!(closed.closed && closed.mean == 0.0 && closed.interval_95.1 == 0.0);
    let silent = on_the_next(&|one, first, second| [first, second].iter().for_each(|day| one.values[*day] = f64::NAN));
    assert!(silent.closed, "no row on either, and rows beside them");
    let once = on_the_next(&|one, _, second| one.values[second] = 0.0);
    assert!(!once.closed && once.mean > 50.0, "it was open on one of two");
    let gap = on_the_next(&|one, first, _| (first - 2..first + 3).for_each(|day| one.values[day] = f64::NAN));
    assert!(!gap.closed);
}

#[test]
fn each_rung_of_the_ladder_says_why_it_was_taken() {
    let cutoff = day("2025-06-01");
    let end_early = |mut series: Series, days: usize| {
        series.values.truncate(series.values.len() - days);
        series
    };
    let mut planned = steady("planned", 5, cutoff);
    planned.planned = Some(800.0);
    let mut dead = steady("dead", 200, cutoff);
    dead.values[170..].fill(0.0);
    let mut constant = steady("constant", 200, cutoff);
    constant.values.fill(7.0);
    let mut rare = steady("rare", 200, cutoff);
    (0..200).filter(|at| at % 3 != 0).for_each(|at| rare.values[at] = 0.0);
    let mut returns = steady("returns", 200, cutoff);
    (0..200).step_by(5).for_each(|at| returns.values[at] = -50.0);
    let series = [
        steady("short", 13, cutoff),
        planned,
        steady("young", 40, cutoff),
        steady("grown", 200, cutoff),
        rare,
        dead,
        constant,
        end_early(steady("stale", 200, cutoff), 5),
        end_early(steady("silent", 200, cutoff), 20),
        returns,
    ];
    let made = forecasts(&series, &quick(cutoff));
    let shown: Vec<String> = made
        .iter()
        .map(|one| {
            let model = one.model.map_or("-", Model::name);
            format!(
                "{} {:?} {model} {:?} {}",
                one.id,
                one.status,
                one.flags,
                one.fallback_reason.as_deref().unwrap_or("-")
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    short Withheld - [] too_short: 13 observed days of 14 needed
    planned Fallback planned [] too_short: 5 observed days of 14 needed
    young Fallback young [] young: 40 observed days
    grown Forecast calendar_sarima [] -
    rare Forecast intermittent [] -
    dead Dead constant [] dead: nothing on the last 30 open days
    constant Fallback constant [] constant: 7 on the last 56 days
    stale Forecast calendar_sarima [Stale] -
    silent Withheld - [] stale: nothing was observed for 20 open days
    returns Forecast calendar_sarima [] -
    ");
    for one in &made {
        assert_eq!(one.points.len(), if one.status == Status::Withheld { 0 } else { 14 }, "{}", one.id);
        for point in &one.points {
            assert!(
                point.interval_95.0 <= point.interval_80.0 && point.interval_80.0 <= point.median,
                "{} {point:?}",
                one.id
            );
            assert!(
                point.median <= point.interval_80.1 && point.interval_80.1 <= point.interval_95.1,
                "{} {point:?}",
                one.id
            );
        }
    }
    let planned: f64 = made[1].points.iter().map(|point| point.median).sum::<f64>() / 14.0;
    assert!((planned / 800.0 - 1.0).abs() < 0.1, "{planned}");
}

#[test]
fn a_broken_series_is_named_and_the_others_go_on() {
    let cutoff = day("2025-06-01");
    let mut endless = steady("infinite", 100, cutoff);
    endless.values.iter_mut().step_by(2).for_each(|value| *value = f64::INFINITY);
    endless.values.iter_mut().skip(1).step_by(4).for_each(|value| *value = 1e308);
    let mut empty = steady("empty", 100, cutoff);
    empty.values.fill(f64::NAN);
    let ancient = Series { first: NaiveDate::MIN, ..steady("ancient", 100, cutoff) };
    let future = Series { first: cutoff + Days::new(9), ..steady("future", 100, cutoff) };
    let series = [endless, empty, ancient, future, steady("fine", 100, cutoff)];
    let made = forecasts(&series, &quick(cutoff));
    let names: Vec<&str> = made.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(names, ["infinite", "empty", "ancient", "future", "fine"]);
    for one in &made[1..4] {
        assert_eq!(one.status, Status::Withheld, "{}", one.id);
        assert!(one.fallback_reason.as_ref().is_some_and(|reason| !reason.is_empty()));
    }
    assert!(made[0].points.iter().all(|point| point.interval_95.1.is_finite()), "{:?}", made[0].points);
    assert_eq!(made[4].status, Status::Forecast);
    let alone = forecasts(&series[4..], &quick(cutoff));
    assert!((made[4].points[0].median / alone[0].points[0].median - 1.0).abs() < 0.05);
}

#[test]
fn guard_rails_pull_days_back_and_refuse_nonsense() {
    let cutoff = day("2025-06-01");
    let series = steady("a", 200, cutoff);
    let study = study(&series, &Pool::default(), cutoff, 14, &[Model::CalendarSarima], &[], || 0.0).unwrap();
    let Outcome::Models(models) = &study.outcome else { panic!("{:?}", study.outcome) };
    let choice =
        Choice { model: Model::CalendarSarima, reason: String::new(), scores: Vec::new(), factors: [(1.0, 1.0); 3] };
    let publish = |change: &dyn Fn(&mut Candidate)| {
        let mut candidate = models.candidates[0].clone();
        change(&mut candidate);
        publish::models(&study, models, &candidate, &choice)
    };
    assert!(publish(&|_| {}).unwrap().flags.is_empty());
    let high = publish(&|candidate| candidate.centre[3] += 4.0).unwrap();
    assert_eq!(high.flags, [Flag::Clipped]);
    let point = &high.points[3];
    assert!(point.clipped && (point.median / models.scale.back(models.usual[3]) - 3.0).abs() < 1e-9);
    let exploded = publish(&|candidate| candidate.centre.iter_mut().for_each(|value| *value += 4.0));
    assert_eq!(exploded.unwrap_err(), "`calendar_sarima` left the guard rails on 14 of 14 days");
    let halved = publish(&|candidate| candidate.centre.iter_mut().for_each(|value| *value -= 1.0)).unwrap();
    assert_eq!(halved.flags, [Flag::UnusualSum]);
    let nan = publish(&|candidate| candidate.centre[0] = f64::NAN);
    assert_eq!(nan.unwrap_err(), "`calendar_sarima` forecast something that is no number");
}

#[test]
fn a_champion_is_kept_unless_a_challenger_is_clearly_better() {
    let cutoff = day("2025-06-01");
    let series = steady("a", 120, cutoff);
    let models = [Model::CalendarSarima, Model::CalendarEts];
    let study = study(&series, &Pool::default(), cutoff, 14, &models, &[], || 0.0).unwrap();
    let Outcome::Models(models) = &study.outcome else { panic!("{:?}", study.outcome) };
    let champion = Champion {
        model: Model::CalendarSarima,
        parameters: Vec::new(),
        factors: [(1.0, 1.0); 3],
        scores: Vec::new(),
        chosen_on: cutoff,
    };
    let against = |challenger: f64, previous: Option<&Champion>| {
        let scores = vec![(Model::CalendarSarima, 1.0, 28), (Model::CalendarEts, challenger, 28)];
        let trial = Trial { scores, ratios: Vec::new(), residuals: Vec::new() };
        choose(models, &[&trial, &trial], &[], previous)
    };
    let kept = against(0.98, Some(&champion));
    assert_eq!(
        (kept.model, kept.reason.as_str()),
        (Model::CalendarSarima, "kept: `calendar_ets` is better by 2.0 % only")
    );
    let beaten = against(0.9, Some(&champion));
    assert_eq!(
        (beaten.model, beaten.reason.as_str()),
        (Model::CalendarEts, "`calendar_ets` beat `calendar_sarima` by 10.0 %")
    );
    assert_eq!(beaten.scores.len(), 2);
    let ets = Champion { model: Model::CalendarEts, ..champion };
    assert_eq!(against(1.02, Some(&ets)).model, Model::CalendarEts);
    assert_eq!(against(1.1, Some(&ets)).model, Model::CalendarSarima);
}

#[test]
fn a_nightly_refit_keeps_the_champion_and_its_factors() {
    let cutoff = day("2025-06-01");
    let mut series = steady("a", 200, cutoff);
    let options = Options { reselect: false, ..quick(cutoff) };
    series.previous = Some(Champion {
        model: Model::CalendarEts,
        parameters: Vec::new(),
        factors: [(1.5, 1.25); 3],
        scores: Vec::new(),
        chosen_on: day("2025-05-28"),
    });
    let made = forecasts(&[series.clone()], &options).remove(0);
    assert_eq!(made.model, Some(Model::CalendarEts));
    assert_eq!(made.reason, "kept: `calendar_ets` was chosen on 2025-05-28");
    let champion = made.champion.unwrap();
    assert_eq!((champion.factors[0], champion.chosen_on), ((1.5, 1.25), day("2025-05-28")));
}

#[test]
fn stores_that_share_their_weather_are_wrong_together() {
    let correlation = |shared: f64| {
        let mut random = Random::new(11);
        let weather: Vec<f64> = (0..200).map(|_| random.normal()).collect();
        let series: Vec<Series> = (0..8)
            .map(|store| {
                let values = weather.iter().enumerate().map(|(day, weather)| {
                    let noise = shared.sqrt() * weather + (1.0 - shared).sqrt() * random.normal();
                    100.0 * (1.0 + 0.1 * (day % 7) as f64) * (0.1 * noise).exp()
                });
                Series::new(&format!("S{store}"), "sales", "2025-01-06".parse().unwrap(), values.collect())
            })
            .collect();
        let options = Options { horizon: 14, origins: 2, ..Options::at("2025-07-24".parse().unwrap()) };
        learn(series.into_iter(), &options, 1).correlation("sales").unwrap()
    };
    let (together, apart) = (correlation(0.6), correlation(0.0));
    assert!(together > 0.4 && apart < 0.15, "{together} {apart}");
    assert_eq!(Knowledge::default().correlation("sales"), None);
}
