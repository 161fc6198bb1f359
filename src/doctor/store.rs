//! Where events and state are kept.

use super::catalogue::{DURABILITY, EVICTION, STORE, STORE_DISK};
use super::finding::{Finding, Seen};
use super::words::{bytes, version};
use crate::durable::embedded::{FileFacts, FileState};
use crate::durable::redis::RedisFacts;

/// `XAUTOCLAIM` came with it.
const OLDEST_REDIS: &str = "6.2";

/// Below this the embedded file may soon not be written any more.
const LITTLE_ROOM: u64 = 256 << 20;

/// Below this it is a matter of hours.
const NO_ROOM: u64 = 16 << 20;

/// More of its memory than this in use: it may be full with the next burst.
const NEARLY_FULL_PERCENT: u64 = 90;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFacts {
    /// The one file.
    Embedded(Seen<FileFacts>),
    /// Redis.
    Redis(Seen<RedisFacts>),
    /// Nobody looked, because…
    NotLooked(String),
}

/// What there is to say. `is_served`: a `serve` answers here.
pub fn findings(facts: &StoreFacts, is_served: bool) -> Vec<Finding> {
    match facts {
        StoreFacts::NotLooked(because) => {
            [STORE, DURABILITY, EVICTION, STORE_DISK].iter().map(|check| check.not_looked(because)).collect()
        }
        StoreFacts::Embedded(Seen::Known(file)) => embedded(file, is_served),
        StoreFacts::Embedded(Seen::Failed(why)) => {
            let first = STORE.unknown(format!("the embedded file cannot be judged: {why}"), "try again");
            let rest = [DURABILITY, STORE_DISK].map(|check| check.not_looked("the file could not be looked at"));
            std::iter::once(first).chain(rest).collect()
        }
        StoreFacts::Redis(Seen::Known(redis)) => of_redis(redis),
        StoreFacts::Redis(Seen::Failed(why)) => {
            let remedy = "start Redis, or correct `queue.redis` (address, password, TLS); deliveries are answered 503 until then";
            let first = STORE.broken(format!("Redis cannot be used: {why}"), remedy);
            let rest = [DURABILITY, EVICTION].map(|check| check.not_looked("Redis does not answer"));
            std::iter::once(first).chain(rest).collect()
        }
        StoreFacts::Embedded(Seen::NotLooked(because)) | StoreFacts::Redis(Seen::NotLooked(because)) => {
            findings(&StoreFacts::NotLooked(because.clone()), is_served)
        }
    }
}

fn embedded(file: &FileFacts, is_served: bool) -> Vec<Finding> {
    let path = file.path.display();
    let available = match &file.state {
        FileState::Good => STORE.ok(format!("{path} is in order")),
        FileState::NotThere(None) => STORE.ok(format!("{path} is not there yet; the first `serve` makes it")),
        FileState::NotThere(Some(why)) => STORE.broken(
            format!("{path} is not there, and cannot be made: {why}"),
            "let the user of `serve` write that folder, or name another (`queue.embedded.path`)",
        ),
        FileState::Held(_) if is_served => STORE.ok(format!("{path} is held by the `serve` that runs here")),
        FileState::Held(process) => {
            let who = process.map_or("another process".to_owned(), |process| format!("process {process}"));
            STORE.warning(
                format!("{path} is held by {who}, and no `serve` answers on the local socket"),
                "see what that process is; a `serve` of another configuration must have a store and a socket of its own",
            )
        }
        FileState::Bad(why) => STORE.broken(
            format!("{path} {why}"),
            "put it back from a backup, or move it away: `serve` then begins anew from what Docker and GitHub show",
        ),
    };
    let durability = match file.mode {
        None => DURABILITY.not_looked("there is no file yet"),
        Some(mode) if mode & 0o077 != 0 => DURABILITY.warning(
            format!("{path} can be got at by others than its owner (mode {mode:04o})"),
            format!("chmod 600 '{path}'"),
        ),
        Some(_) => {
            DURABILITY.ok("each event is on disk before its delivery is answered; the file is its owner's alone")
        }
    };
    let disk = match file.free {
        None => STORE_DISK.unknown("how much is free there cannot be told".to_owned(), format!("df -h '{path}'")),
        Some(free) if free < NO_ROOM => STORE_DISK.broken(
            format!("only {} are free where {path} is: deliveries will be answered 503", bytes(free)),
            "make room there",
        ),
        Some(free) if free < LITTLE_ROOM => {
            STORE_DISK.warning(format!("only {} are free where {path} is", bytes(free)), "make room there")
        }
        Some(free) => STORE_DISK.ok(format!("{} are free where the file is", bytes(free))),
    };
    vec![available, durability, disk]
}

fn of_redis(redis: &RedisFacts) -> Vec<Finding> {
    vec![redis_available(redis), redis_durability(redis), redis_eviction(redis)]
}

fn redis_available(redis: &RedisFacts) -> Finding {
    let shown = redis.version.as_deref().unwrap_or("of unknown version");
    let known = redis.version.as_deref().and_then(version);
    match known {
        _ if redis.is_replica => STORE.broken(
            format!("Redis {shown} is a replica: it takes no writes"),
            "name the primary, or the sentinels (`queue.redis.sentinel_master`)",
        ),
        Some(known) if Some(&known) < version(OLDEST_REDIS).as_ref() => STORE.broken(
            format!("Redis {shown} is too old: {OLDEST_REDIS} is the oldest that will do"),
            "use a newer Redis, or what speaks like one",
        ),
        Some(_) => STORE.ok(format!("Redis {shown} answers")),
        None => STORE
            .unknown("Redis answers, and does not tell its version", format!("it has to be {OLDEST_REDIS} or later")),
    }
}

fn redis_durability(redis: &RedisFacts) -> Finding {
    let fix = "set `appendonly yes` and `appendfsync always` in redis.conf (`CONFIG SET` does it at once, `CONFIG REWRITE` keeps it)";
    match (redis.appendonly, redis.appendfsync.as_deref()) {
        _ if !redis.failed_writes.is_empty() => DURABILITY.warning(
            format!("Redis could not write its files the last time ({})", redis.failed_writes.join(", ")),
            "see its log; mostly the disk is full or may not be written",
        ),
        (Some(false), _) => {
            DURABILITY.warning("Redis keeps no append-only file: events and state do not survive its crash", fix)
        }
        (Some(true), Some("always")) => DURABILITY.ok("Redis writes each event to its append-only file at once"),
        (Some(true), Some("no")) => {
            DURABILITY.warning("Redis leaves it to the kernel when its append-only file is written (`appendfsync no`)", fix)
        }
        (Some(true), Some(_)) => DURABILITY
            .ok("Redis keeps an append-only file; when the machine itself dies, the last second may be lost (`appendfsync`)"),
        (Some(true), None) => DURABILITY.ok("Redis keeps an append-only file; how often it is written it does not tell"),
        (None, _) => DURABILITY.unknown("Redis does not tell whether it keeps an append-only file", "see its settings: `appendonly yes`"),
    }
}

fn redis_eviction(redis: &RedisFacts) -> Finding {
    let policy = redis.eviction.as_deref();
    let fix = "set `maxmemory-policy noeviction`";
    match (policy, redis.max_memory) {
        (None, _) => EVICTION.unknown("Redis does not tell what it throws away when its memory is full", fix),
        (Some("noeviction"), Some(max)) if max > 0 => {
            let used = redis.used_memory.unwrap_or(0);
            if used.saturating_mul(100) >= max.saturating_mul(NEARLY_FULL_PERCENT) {
                let says = format!(
                    "Redis uses {} of the {} that it may: when it is full it takes no events",
                    bytes(used),
                    bytes(max)
                );
                EVICTION.broken(says, "give it more (`maxmemory`)")
            } else {
                EVICTION.ok(format!("Redis throws nothing away, and uses {} of {}", bytes(used), bytes(max)))
            }
        }
        (Some("noeviction"), _) => EVICTION.ok("Redis throws nothing away"),
        (Some(policy), Some(0)) => EVICTION.warning(
            format!("Redis would throw rows away if its memory had a bound (`maxmemory-policy {policy}`)"),
            fix,
        ),
        (Some(policy), _) => EVICTION.broken(
            format!(
                "Redis throws rows away when its memory is full (`maxmemory-policy {policy}`): events would be lost"
            ),
            fix,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Broken, NotLooked, Ok, Unknown, Warning};
    use super::*;

    fn file(state: FileState, mode: Option<u32>, free: Option<u64>) -> FileFacts {
        FileFacts { path: "/var/lib/fleet.redb".into(), state, mode, free }
    }

    fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
        assert!(findings.iter().all(|it| matches!(it.verdict, Ok | NotLooked) || it.remedy.is_some()), "{findings:?}");
        findings.iter().map(|finding| finding.verdict).collect()
    }

    fn of(state: FileState, mode: Option<u32>, free: u64, is_served: bool) -> Vec<Verdict> {
        verdicts(&findings(&StoreFacts::Embedded(Seen::Known(file(state, mode, Some(free)))), is_served))
    }

    fn redis() -> RedisFacts {
        RedisFacts {
            version: Some("7.0.15".to_owned()),
            appendonly: Some(true),
            appendfsync: Some("always".to_owned()),
            max_memory: Some(0),
            used_memory: Some(1 << 20),
            eviction: Some("noeviction".to_owned()),
            ..RedisFacts::default()
        }
    }

    #[test]
    fn the_embedded_file_in_each_colour() {
        const ROOM: u64 = 1 << 40;
        let owner = Some(0o600);
        assert_eq!(of(FileState::Good, owner, ROOM, false), [Ok, Ok, Ok]);
        assert_eq!(of(FileState::NotThere(None), None, ROOM, false), [Ok, NotLooked, Ok]);
        assert_eq!(of(FileState::NotThere(Some("no".to_owned())), None, ROOM, false), [Broken, NotLooked, Ok]);
        assert_eq!(of(FileState::Held(Some(7)), owner, ROOM, true), [Ok, Ok, Ok]);
        assert_eq!(of(FileState::Held(Some(7)), owner, ROOM, false), [Warning, Ok, Ok]);
        assert_eq!(of(FileState::Bad("is damaged".to_owned()), owner, ROOM, false), [Broken, Ok, Ok]);
        assert_eq!(of(FileState::Good, Some(0o644), 200 << 20, false), [Ok, Warning, Warning]);
        assert_eq!(of(FileState::Good, owner, 1 << 20, false), [Ok, Ok, Broken]);
        let untold = StoreFacts::Embedded(Seen::Known(file(FileState::Good, owner, None)));
        assert_eq!(verdicts(&findings(&untold, false)), [Ok, Ok, Unknown]);
        let slow = StoreFacts::Embedded(Seen::Failed("it takes too long".to_owned()));
        assert_eq!(verdicts(&findings(&slow, false)), [Unknown, NotLooked, NotLooked]);
    }

    #[test]
    fn redis_in_each_colour() {
        let of = |facts: RedisFacts| verdicts(&findings(&StoreFacts::Redis(Seen::Known(facts)), false));
        assert_eq!(of(redis()), [Ok, Ok, Ok]);
        let version = |version: &str| RedisFacts { version: Some(version.to_owned()), ..redis() };
        assert_eq!(of(version("6.0.16")), [Broken, Ok, Ok]);
        assert_eq!(of(version("10.0.0")), [Ok, Ok, Ok]);
        assert_eq!(of(RedisFacts { version: None, ..redis() }), [Unknown, Ok, Ok]);
        assert_eq!(of(RedisFacts { is_replica: true, ..redis() }), [Broken, Ok, Ok]);
        assert_eq!(of(RedisFacts { appendonly: Some(false), ..redis() }), [Ok, Warning, Ok]);
        assert_eq!(of(RedisFacts { appendonly: None, ..redis() }), [Ok, Unknown, Ok]);
        let fsync = |word: &str| RedisFacts { appendfsync: Some(word.to_owned()), ..redis() };
        assert_eq!((of(fsync("no")), of(fsync("everysec"))), (vec![Ok, Warning, Ok], vec![Ok, Ok, Ok]));
        let failed = RedisFacts { failed_writes: vec!["aof_last_write_status".to_owned()], ..redis() };
        assert_eq!(of(failed), [Ok, Warning, Ok]);
        let evicts = |policy: &str, max, used| RedisFacts {
            eviction: Some(policy.to_owned()),
            max_memory: Some(max),
            used_memory: Some(used),
            ..redis()
        };
        assert_eq!(of(evicts("allkeys-lru", 0, 0)), [Ok, Ok, Warning]);
        assert_eq!(of(evicts("allkeys-lru", 1 << 30, 0)), [Ok, Ok, Broken]);
        assert_eq!(of(evicts("noeviction", 100, 95)), [Ok, Ok, Broken]);
        assert_eq!(of(evicts("noeviction", 100, 50)), [Ok, Ok, Ok]);
        assert_eq!(of(RedisFacts { eviction: None, ..redis() }), [Ok, Ok, Unknown]);
    }

    #[test]
    fn a_redis_that_is_away_is_red_and_the_rest_is_not_looked_at() {
        let away = findings(&StoreFacts::Redis(Seen::Failed("connection refused".to_owned())), false);
        assert_eq!(verdicts(&away), [Broken, NotLooked, NotLooked]);
        assert!(away[0].says.contains("connection refused") && away[1].says.contains("because Redis does not answer"));
        let none = findings(&StoreFacts::NotLooked("the configuration cannot be used".to_owned()), false);
        assert!(none.iter().all(|finding| finding.verdict == NotLooked) && none.len() == 4);
    }
}
