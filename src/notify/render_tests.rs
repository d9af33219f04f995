use chrono::TimeZone as _;
use insta::assert_snapshot;

use super::super::summary::tests::{failed, refused, run};
use super::super::summary::{AuditFacts, ForecastFacts, PlanFacts};
use super::*;

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 6, 5, 12).unwrap()
}

fn morning() -> Summary {
    let mut sales = run(12, "sales_channel", 12_532);
    sales.rows_read = 12_557;
    sales.rows_inserted = 10_500;
    sales.rows_updated = 520;
    sales.rows_unchanged = 1_512;
    sales.rows_quarantined = 25;
    sales.quarantine = vec![
        refused(17, "net_sales", "is not a number"),
        refused(18, "net_sales", "is not a number"),
        refused(19, "net_sales", "is not a number"),
        refused(40, "net_sales", "is not a number"),
        refused(52, "store_id", "is not a store of this brand"),
    ];
    sales.notes = vec!["left out 7 subtotal rows".into()];
    Summary {
        forecast: Some(ForecastFacts { series: 270, horizon_days: 35, error: None }),
        plan: Some(PlanFacts { applied: 1_204, remaining: 0, error: None }),
        audit: Some(AuditFacts { people: 61, checks: 183, ..AuditFacts::default() }),
        ..Summary::new(vec![sales, failed(13, "daily_metrics")])
    }
}

#[test]
fn the_text_puts_failures_first_and_names_file_rows_and_remedy() {
    assert_snapshot!(morning().render(now()).unwrap().text, @r"
    1 of 2 runs needs you.
    1 of 2 runs brought data: 12,532 rows loaded, 25 quarantined, in 2.5 s.

    WHAT NEEDS YOU

    * daily_metrics (harbor, run 13)
      File:   daily_metrics.xlsx
      What:   failed to open workbook `Sales.xlsx`: the archive ends early
      Remedy: save the workbook again and upload it whole

    QUARANTINED ROWS

    * sales_channel (harbor): 25 rows
      Sales.xlsx [Daily], rows 17–19, 40, column net_sales, rule type: is not a number
      Sales.xlsx [Daily], row 52, column store_id, rule type: is not a store of this brand
      and 20 more: storekeeper quarantine list --run 12

    RUNS
    * daily_metrics (harbor): failed, 1.2 s
      loaded – (new 0, changed 0, same 0), quarantined –
    * sales_channel (harbor): loaded, 1.2 s
      loaded 12,532 (new 10,500, changed 520, same 1,512), quarantined 25
      note: left out 7 subtotal rows

    Forecast: 270 series, 35 days ahead
    Metabase: 1,204 changes applied, none pending
    Isolation: 61 people, 183 checks: everybody sees the granted stores and no other

    storekeeper, 2026-03-02 06:05 UTC
    ");
}

#[test]
fn nothing_to_do_is_said_in_the_first_two_lines() {
    let text = Summary::new(vec![run(1, "stores", 45)]).render(now()).unwrap().text;
    assert_snapshot!(text.lines().take(2).collect::<Vec<_>>().join("\n"), @r"
    1 run fine, 45 rows loaded.
    Nothing to do. 1 of 1 run brought data, in 1.2 s.
    ");
}

#[test]
fn what_a_file_is_called_cannot_become_markup() {
    let mut bad = failed(1, "sales");
    bad.files[0].name = "<img src=x onerror=alert(1)>.xlsx".into();
    bad.error = Some("failed on `<b>&\"'` here".into());
    bad.notes = vec!["<script>alert(2)</script>".into()];
    bad.quarantine = vec![refused(1, "<i>", "`</td>`")];
    let html = Summary::new(vec![bad]).render(now()).unwrap().html;
    for tag in ["<img", "<b>", "<script", "<i>", "`</td>`"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert!(html.contains("&lt;b&gt;&amp;&quot;&#39;"));
}

#[test]
fn the_html_fetches_nothing() {
    let html = morning().render(now()).unwrap().html;
    for outside in ["http:", "https:", "url(", "<link", "<img", "src=", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn a_bar_fills_its_width_and_shows_the_smallest_part() {
    let mut report = run(1, "sales", 100_000);
    report.rows_quarantined = 1;
    let percents: Vec<u64> = bar(&report).iter().map(|segment| segment.percent).collect();
    assert_eq!(percents, [99, 1]);
    assert!(bar(&run(1, "sales", 0)).is_empty());
}

#[test]
fn rows_are_written_as_ranges() {
    assert_eq!(ranges(vec![7]), "row 7");
    assert_eq!(ranges(vec![9, 4, 5, 6]), "rows 4–6, 9");
}

#[test]
fn durations_past_a_minute_are_minutes() {
    assert_eq!((seconds(1_250), seconds(61_000)), ("1.2 s".to_owned(), "1 min 01 s".to_owned()));
}
