#![no_main]

libfuzzer_sys::fuzz_target!(init: runnerfleet_fuzz::fill("container_labels"), |data: &[u8]| runnerfleet_fuzz::container_labels(data));
