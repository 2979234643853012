//! Policy files of administrators, and what they judge: see `plat_fuzz::policy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::policy(input));
