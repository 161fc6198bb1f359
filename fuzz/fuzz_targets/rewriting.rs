#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("rewriting"), |data: &[u8]| runnerfleet_fuzz::rewriting(data));
