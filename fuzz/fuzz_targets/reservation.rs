//! Reservation files: see `plat_fuzz::reservation`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::reservation(input));
