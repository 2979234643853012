//! node-local's templates: see `plat_fuzz::template`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plat_fuzz::template(input));
