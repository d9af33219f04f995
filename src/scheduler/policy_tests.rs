use super::*;

fn scheduled(cron: &str, zone: &str, overlap: Overlap, catch_up: CatchUp) -> Scheduled {
    Scheduled {
        pipeline: "sales".into(),
        brand: "harbor".into(),
        cron: cron.into(),
        time_zone: zone.parse().unwrap(),
        overlap,
        catch_up,
    }
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::parse(&scheduled(cron, zone, Overlap::Skip, CatchUp::Latest)).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The occurrences after a moment, in local time with its offset.
fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(cron, zone);
    let mut moment = at(after);
    (0..count)
        .map(|_| {
            moment = schedule.next_after(moment).unwrap();
            moment.with_timezone(&schedule.zone).format("%m-%d %H:%M %z").to_string()
        })
        .collect()
}

#[test]
fn a_time_of_day_is_meant_in_its_zone() {
    assert_eq!(next("0 6 * * *", "America/New_York", "2026-01-15T00:00:00Z", 1), ["01-15 06:00 -0500"]);
    assert_eq!(next("0 6 * * *", "America/New_York", "2026-07-15T00:00:00Z", 1), ["07-15 06:00 -0400"]);
    assert_eq!(next("30 5 * * 1", "Asia/Kolkata", "2026-07-15T00:00:00Z", 1), ["07-20 05:30 +0530"]);
}

#[test]
fn a_local_time_that_does_not_exist_happens_at_the_next_moment_that_does() {
    let after = "2026-03-07T12:00:00Z";
    assert_eq!(next("30 2 * * *", "America/New_York", after, 2), ["03-08 03:00 -0400", "03-09 02:30 -0400"]);
    // Several names that the jump swallows, and the one it lands on, are one occurrence.
    assert_eq!(
        next("0,30 1-3 * * *", "America/New_York", after, 5),
        ["03-08 01:00 -0500", "03-08 01:30 -0500", "03-08 03:00 -0400", "03-08 03:30 -0400", "03-09 01:00 -0400"]
    );
    // Half an hour is jumped here.
    assert_eq!(next("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 1), ["10-04 02:30 +1100"]);
    // Clocks jump at midnight: the day has no 00:00.
    assert_eq!(next("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 1), ["04-24 01:00 +0300"]);
    // A whole day was left out.
    assert_eq!(next("0 6 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", 1), ["12-31 00:00 +1400"]);
}

#[test]
fn a_local_time_that_exists_twice_happens_once() {
    let after = "2026-10-31T12:00:00Z";
    assert_eq!(next("30 1 * * *", "America/New_York", after, 2), ["11-01 01:30 -0400", "11-02 01:30 -0500"]);
    assert_eq!(
        next("0,30 1-2 * * *", "America/New_York", after, 4),
        ["11-01 01:00 -0400", "11-01 01:30 -0400", "11-01 02:00 -0500", "11-01 02:30 -0500"]
    );
    // Asked in the second of the two hours, the first has been.
    assert_eq!(next("45 1 * * *", "America/New_York", "2026-11-01T06:20:00Z", 1), ["11-02 01:45 -0500"]);
    assert_eq!(
        next("0 2 * * *", "Europe/Warsaw", "2026-10-24T12:00:00Z", 2),
        ["10-25 02:00 +0200", "10-26 02:00 +0100"]
    );
}

#[test]
fn a_year_of_days_has_an_occurrence_each_in_every_zone() {
    for zone in
        ["America/New_York", "Europe/Warsaw", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "UTC"]
    {
        for cron in ["0 0 * * *", "30 1 * * *", "30 2 * * *", "59 23 * * *"] {
            let schedule = schedule(cron, zone);
            let (mut moment, mut days) = (at("2026-01-01T12:00:00Z"), Vec::new());
            for _ in 0..365 {
                let next = schedule.next_after(moment).unwrap();
                assert!(next > moment);
                moment = next;
                days.push(moment.with_timezone(&schedule.zone).date_naive());
            }
            days.dedup();
            assert_eq!(days.len(), 365, "{cron} {zone}");
        }
    }
}

#[test]
fn a_schedule_that_cannot_be_kept_is_refused() {
    let refused = |cron: &str| {
        let error = Schedule::parse(&scheduled(cron, "UTC", Overlap::Skip, CatchUp::None)).unwrap_err();
        error.to_string()
    };
    assert_eq!(refused("0 6 * *"), "failed to read cron expression `0 6 * *`");
    assert_eq!(refused("0 0 6 * * *"), "failed to read cron expression `0 0 6 * * *`");
    assert_eq!(refused("61 6 * * *"), "failed to read cron expression `61 6 * * *`");
    assert_eq!(refused("0 6 30 2 *"), "cron expression `0 6 30 2 *` never comes due");
}

/// Decides an hourly schedule, last decided at 06:00, and writes what came out.
fn hourly(overlap: Overlap, catch_up: CatchUp, running: bool, waiting: u64, now: &str) -> Vec<String> {
    let schedule = Schedule::parse(&scheduled("0 * * * *", "UTC", overlap, catch_up)).unwrap();
    let memory = Memory { decided_until: at("2026-03-02T06:00:00Z"), running, waiting };
    decide(&schedule, memory, at(&format!("2026-03-02T{now}Z")))
        .into_iter()
        .map(|decision| format!("{} {:?}", decision.due_at.format("%H:%M"), decision.action))
        .collect()
}

#[test]
fn an_occurrence_starts_when_due_and_not_before() {
    let decided = |now: &str| hourly(Overlap::Skip, CatchUp::Latest, false, 0, now);
    assert_eq!(decided("06:59:59"), Vec::<String>::new());
    assert_eq!(decided("07:00:00"), ["07:00 Start(Schedule)"]);
    assert_eq!(decided("07:01:30"), ["07:00 Start(Schedule)"]);
    assert_eq!(decided("07:01:31"), ["07:00 Start(CatchUp)"]);
}

#[test]
fn an_overlap_is_skipped_or_one_waits() {
    let decided = |overlap, waiting| hourly(overlap, CatchUp::None, true, waiting, "07:00:10");
    assert_eq!(decided(Overlap::Skip, 0), ["07:00 Skip(Running)"]);
    assert_eq!(decided(Overlap::BufferOne, 0), ["07:00 Wait(Schedule)"]);
    assert_eq!(decided(Overlap::BufferOne, 1), ["07:00 Skip(Buffered)"]);
}

#[test]
fn what_was_missed_is_made_up_for_as_told() {
    let decided = |catch_up, now: &str| hourly(Overlap::Skip, catch_up, false, 0, now);
    assert_eq!(decided(CatchUp::None, "08:30:00"), ["07:00 Skip(Missed)", "08:00 Skip(Missed)"]);
    assert_eq!(decided(CatchUp::None, "08:00:10"), ["07:00 Skip(Missed)", "08:00 Start(Schedule)"]);
    assert_eq!(decided(CatchUp::Latest, "08:30:00"), ["07:00 Skip(Missed)", "08:00 Start(CatchUp)"]);
    assert_eq!(decided(CatchUp::Latest, "08:00:10"), ["07:00 Skip(Missed)", "08:00 Start(Schedule)"]);
    assert_eq!(decided(CatchUp::All, "08:30:00"), ["07:00 Start(CatchUp)", "08:00 Wait(CatchUp)"]);
    assert_eq!(decided(CatchUp::All, "08:00:10"), ["07:00 Start(CatchUp)", "08:00 Wait(Schedule)"]);
}

#[test]
fn a_long_absence_is_not_made_up_for_without_end() {
    let schedule = Schedule::parse(&scheduled("* * * * *", "UTC", Overlap::Skip, CatchUp::All)).unwrap();
    let memory = Memory { decided_until: at("2026-03-01T00:00:00Z"), running: false, waiting: 0 };
    let decisions = decide(&schedule, memory, at("2026-03-08T00:00:00Z"));
    assert_eq!(decisions.len(), MISSED_LIMIT + 1);
    assert_eq!(decisions.last().unwrap().due_at, at("2026-03-08T00:00:00Z"));
}
