#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| {
    let _how_far = storekeeper_fuzz::xlsx(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let inside = storekeeper_fuzz::mutate::workbook(data, size, max_size, seed, |part, used| {
        let most = part.len();
        fuzzer_mutate(part, used, most)
    });
    inside.unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});
