//! `ostler_fuzz::clean`, for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ostler_fuzz::clean::run(bytes));
