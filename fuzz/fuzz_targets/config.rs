//! Network configurations: see `plat_fuzz::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::config(input));
