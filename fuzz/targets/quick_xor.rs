#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| storekeeper_fuzz::quick_xor(bytes));
