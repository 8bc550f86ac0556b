#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| parlour_sim::fuzzing::scenario(data));
