#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("embedded"), |data: &[u8]| runnerfleet_fuzz::embedded(data));
