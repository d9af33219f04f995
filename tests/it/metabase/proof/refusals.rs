//! What counts as a refusal: want of rights, where the way in is known to be there.

use super::*;

/// A way in that is spoiled for everybody, and what of it the audit must call blind.
const WAYS: &[(&str, &str, &str)] = &[
    ("POST", "/api/pulse", "subscriptions"),
    ("POST", "/api/dataset", "SQL"),
    ("GET", "/api/table", "the columns of tables"),
];

/// More than one audit asks.
const ALWAYS: u32 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_way_in_that_is_gone_for_everybody_is_no_proof() {
    let world = World::start().await;
    world.settle().await;
    for (method, path, way) in WAYS {
        // Moved, another body by now, and refused even to who has all rights.
        for status in [404, 400, 403] {
            world.metabase.fail_next(Fault::new(method, path, Failure::Status(status, "No.".to_owned())).times(ALWAYS));
            let audit = world.audit().await;
            world.metabase.clear_failures();
            assert_eq!(audit.leaks, [], "{method} {path} {status}");
            let said = |word: &str| audit.failures.iter().any(|failure| failure.contains(word));
            let blind = format!("{way}: even with rights that must be enough nothing came");
            assert!(said(&blind), "{method} {path} {status}: {audit}");
            let unclear = format!("`{method} {}", path.trim_start_matches('/'));
            let unclear = said(&unclear) && said("which neither gives nor refuses");
            assert_eq!(unclear, status != 403, "{method} {path} {status}: {audit}");
        }
    }
    let audit = world.audit().await;
    assert!(audit.is_clean(), "{audit}");
}

#[tokio::test]
async fn a_subscription_that_was_tried_is_put_away_also_after_a_killed_audit() {
    let world = World::start().await;
    world.settle().await;
    let open = || {
        let snapshot = world.metabase.snapshot();
        let all = snapshot["objects"]["pulse"].as_object().cloned().unwrap_or_default();
        (all.len(), all.values().filter(|pulse| pulse["archived"] == false).count())
    };
    assert!(world.audit().await.is_clean());
    assert_eq!(open(), (1, 0), "one for each audit, put away");
    let id = world.metabase.snapshot()["objects"]["pulse"].as_object().unwrap().keys().next().unwrap().clone();
    world.click("PUT", &format!("pulse/{id}"), json!({"archived": false})).await;
    assert_eq!(open(), (1, 1));
    assert!(world.audit().await.is_clean());
    assert_eq!(open(), (2, 0));
    assert!(world.metabase.mails().is_empty());
}

#[tokio::test]
async fn a_file_with_fewer_rows_or_with_broken_ones_is_a_failure() {
    let world = World::start().await;
    world.settle().await;
    let card = world.card("000101", "Week so far");
    for (text, said) in [
        ("\"Day\",store_id\n", "its download as csv lacks"),
        ("\"Day\",store_id\nMon,000101,1\n", "downloads as csv that cannot be read"),
    ] {
        let path = format!("/api/card/{card}/query/csv");
        world.metabase.fail_next(Fault::new("POST", &path, Failure::Status(200, text.to_owned())).times(ALWAYS));
        let audit = world.audit().await;
        world.metabase.clear_failures();
        let named =
            |failure: &String| failure.contains("`Week so far` of `store:harbor/000101`") && failure.contains(said);
        assert!(audit.failures.iter().any(named), "{text:?}: {audit}");
    }
}
