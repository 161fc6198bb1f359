//! The checks of the fuzz targets, run over their seeds and over thousands of changed ones, from one number: a shorter form of
//! `scripts/fuzz` that needs no second build of the program.

#[path = "../../fuzz/src/readings.rs"]
mod readings;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many changed seeds each target reads.
const CHANGED: u32 = 4000;

/// `UNTRUSTED_SEED=… UNTRUSTED_ROUNDS=…` look further.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// A xorshift generator: the same inputs for the same number, on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).expect("it is below a usize")
    }
}

/// What breaks readers of JSON, YAML, numbers and text.
const WORDS: &[&str] = &[
    "\0",
    "\r\n",
    "\n\n",
    "\u{feff}",
    "é",
    "\u{202e}",
    "\u{1f600}",
    "\"",
    "\\",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "9999-12-31T23:59:59.999999999Z",
    "-009999-01-01T00:00:00Z",
    "&a",
    "*a",
    "<<: *a",
    "!!str",
    "|",
    ">-",
    "${X}",
    "${WEBHOOK_SECRET}",
    "$",
    ":",
    ": ",
    "- ",
    "#",
    "\t",
    "%",
    "..",
    "/",
    "sha256=",
];

/// One to four changes of a seed.
fn changed(seed: &[u8], seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(40)).min(bytes.len());
        match chance.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                let to = chance.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            3 => drop(bytes.splice(at..at, WORDS[chance.below(WORDS.len())].bytes())),
            4 => drop(bytes.splice(at..end, WORDS[chance.below(WORDS.len())].bytes())),
            5 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            _ => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len() + 1);
                let to = (from + chance.below(200)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

fn read(name: &str, target: readings::Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let path = readings::root().join("fuzz/found").join(name);
        panic!(
            "{name} does not hold for {:?}: keep it as a file in {}",
            String::from_utf8_lossy(input),
            path.display()
        );
    }
}

fn holds(name: &str) {
    let (_, target) = *readings::TARGETS.iter().find(|(other, _)| *other == name).expect("there is such a target");
    let seeds = readings::seeds(name);
    let mut chance = Chance(number("UNTRUSTED_SEED", 0x5eed));
    for seed in &seeds {
        read(name, target, seed);
    }
    for round in 0..number("UNTRUSTED_ROUNDS", CHANGED.into()) {
        let seed = &seeds[usize::try_from(round).expect("it is small") % seeds.len()];
        read(name, target, &changed(seed, &seeds, &mut chance));
    }
}

macro_rules! each_holds {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { holds(stringify!($name)); })*

        #[test]
        fn none_is_missing() {
            let here = [$(stringify!($name)),*];
            assert_eq!(readings::TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), here);
            let manifest = include_str!("../../fuzz/Cargo.toml");
            let bins: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
            assert_eq!(bins, here.map(|name| format!("{name}.rs\"")));
        }
    };
}

each_holds!(signature, webhook, config, rewriting, labels, container_labels, redis, embedded);

/// A seed that nobody can read tests nothing but the way out.
#[test]
fn the_seeds_are_read_as_what_they_are() {
    use runnerfleet::webhook::payload::{Parsed, parse};
    let jobs = readings::seeds("webhook").into_iter().filter(|seed| {
        let at = seed.iter().position(|byte| *byte == b'\n').expect("an event, a line break, a body");
        matches!(parse(std::str::from_utf8(&seed[..at]).unwrap(), &seed[at + 1..]), Ok(Parsed::Job(_)))
    });
    assert!(jobs.count() >= 5);
    let text = |seed: &[u8]| String::from_utf8(seed.to_vec()).unwrap();
    let [job, runner, change, ..] = &readings::seeds("redis")[..] else { panic!("there are seeds") };
    assert!(runnerfleet::untrusted::redis_job(text(job).strip_prefix("job\n").unwrap()).is_some());
    assert!(runnerfleet::untrusted::redis_runner(text(runner).strip_prefix("runner\n").unwrap()).is_some());
    assert!(runnerfleet::untrusted::redis_change(text(change).strip_prefix("change\n").unwrap().as_bytes()).is_some());
    let events = readings::seeds("redis")
        .iter()
        .filter_map(|seed| seed.strip_prefix(b"events\n").map(<[u8]>::to_vec))
        .collect::<Vec<_>>();
    let read: Vec<_> =
        events.iter().flat_map(|seed| runnerfleet::untrusted::redis_events(seed).unwrap_or_default()).collect();
    assert_eq!((read.len(), read.iter().filter(|received| received.event.is_ok()).count()), (3, 1));
    let rows = readings::seeds("embedded");
    let row = runnerfleet::untrusted::embedded_row::<runnerfleet::model::Job>(rows[0].strip_prefix(b"job\n").unwrap());
    assert_eq!((row.version, row.over, row.row.is_ok()), (3, None, true));
    let labels: std::collections::HashMap<String, String> = text(&readings::seeds("container_labels")[1])
        .lines()
        .map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .collect();
    assert!(runnerfleet::provider::docker::labels::read(&labels).unwrap().kept.is_some());
}
