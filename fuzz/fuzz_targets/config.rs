#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("config"), |data: &[u8]| runnerfleet_fuzz::config(data));
