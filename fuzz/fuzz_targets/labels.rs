#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("labels"), |data: &[u8]| runnerfleet_fuzz::labels(data));
