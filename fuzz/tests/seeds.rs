//! A seed that is refused at its first line leads nowhere near what is to be fuzzed.

#[test]
fn each_seed_gets_as_far_as_its_rows() {
    for seed in [
        include_bytes!("../seeds/csv/commas").as_slice(),
        include_bytes!("../seeds/csv/semicolons"),
        include_bytes!("../seeds/csv/utf16"),
    ] {
        assert!(storekeeper_fuzz::csv(seed).unwrap() > 0, "{}", String::from_utf8_lossy(seed));
    }
    assert!(storekeeper_fuzz::xlsx(include_bytes!("../seeds/xlsx/sheet")).unwrap() > 0);
    assert_eq!(storekeeper_fuzz::batch(include_bytes!("../seeds/batch/change_set")), 2);
    assert_eq!(storekeeper_fuzz::delta(include_bytes!("../seeds/delta/page")), 1);
}
