#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("signature"), |data: &[u8]| runnerfleet_fuzz::signature(data));
