//! `ostler_fuzz::replay`, for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ostler_fuzz::replay::run(bytes));
