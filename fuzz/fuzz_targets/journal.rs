//! `ostler_fuzz::journal`, for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ostler_fuzz::journal::run(bytes));
