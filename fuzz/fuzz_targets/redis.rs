#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("redis"), |data: &[u8]| runnerfleet_fuzz::redis(data));
