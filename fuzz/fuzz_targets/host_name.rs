//! Host names and patterns: see `plat_fuzz::host_name`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::host_name(input));
