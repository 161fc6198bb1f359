#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("webhook"), |data: &[u8]| runnerfleet_fuzz::webhook(data));
