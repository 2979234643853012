//! CNI_ARGS: see `plat_fuzz::cni_args`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::cni_args(input));
