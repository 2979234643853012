//! Pools, keys and records of a cluster: see `plat_fuzz::pool`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::pool(input));
