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
    for seed in [
        include_bytes!("../seeds/xlsx/sheet").as_slice(),
        include_bytes!("../seeds/xlsx/two_sheets.xlsx"),
        include_bytes!("../seeds/xlsx/prefixed_1904.xlsx"),
    ] {
        assert!(storekeeper_fuzz::xlsx(seed).unwrap() > 0);
    }
    assert_eq!(storekeeper_fuzz::batch(include_bytes!("../seeds/batch/change_set")), 2);
    assert_eq!(storekeeper_fuzz::delta(include_bytes!("../seeds/delta/page")), 1);
}

#[test]
fn a_workbook_is_damaged_inside_and_still_opens() {
    let seed = include_bytes!("../seeds/xlsx/two_sheets.xlsx");
    let mut data = seed.to_vec();
    data.resize(64 << 10, 0);
    let size = storekeeper_fuzz::mutate::workbook(&mut data, seed.len(), 64 << 10, 4 * 16 + 1, |part, used| {
        let at = part.windows(5).position(|text| text == b"12.50").expect("the fifth part is the first sheet");
        part[at] = b'9';
        used
    });
    assert!(storekeeper_fuzz::xlsx(&data[..size.expect("a workbook is taken apart")]).unwrap() > 0);
    assert!(storekeeper_fuzz::mutate::workbook(&mut data, 3, 64 << 10, 1, |_, used| used).is_none());
}
