//! The target `duration`, for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bascule_fuzz::targets::duration::target(data);
});
