//! What VPP sends: see `plat_fuzz::vpp_api`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::vpp_api(input));
