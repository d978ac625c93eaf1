//! `ostler_fuzz::helper`, for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ostler_fuzz::helper::run(bytes));
