//! A look at a Redis that changes nothing in it.

use super::{RedisDb, Unavailable};
use std::collections::BTreeMap;

/// What Redis says of itself. A field is none where it does not tell (a service may hide some).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisFacts {
    /// `7.0.15`.
    pub version: Option<String>,
    /// Whether it follows another one, and so takes no writes.
    pub is_replica: bool,
    /// Whether it keeps an append-only file.
    pub appendonly: Option<bool>,
    /// `always`, `everysec`, `no`.
    pub appendfsync: Option<String>,
    /// Why the last write to its files failed, as far as it tells: the names of what is not `ok`.
    pub failed_writes: Vec<String>,
    /// Bytes that it may take; 0: no bound.
    pub max_memory: Option<u64>,
    /// Bytes that it takes.
    pub used_memory: Option<u64>,
    /// What it does when they are used up: `noeviction`, `allkeys-lru`, …
    pub eviction: Option<String>,
}

impl RedisDb {
    /// Asks it. Reads alone: nothing is written.
    ///
    /// # Errors
    /// A text without secrets: it does not answer, or does not let us in.
    pub async fn look(&self) -> Result<RedisFacts, String> {
        let link = &self.shared.link;
        let told = |Unavailable(why)| why;
        let info: String = link.ask(&redis::cmd("INFO")).await.map_err(told)?;
        // Many do not let everybody ask for this.
        let fsync: Option<Vec<String>> = link.ask(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await.ok();
        let appendfsync = fsync.and_then(|pair| pair.into_iter().nth(1));
        Ok(RedisFacts { appendfsync, ..read(&info) })
    }
}

/// The lines of `INFO`.
fn read(info: &str) -> RedisFacts {
    let fields: BTreeMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let text = |name: &str| fields.get(name).map(|text| (*text).to_owned());
    let number = |name: &str| fields.get(name).and_then(|text| text.parse().ok());
    let files = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"];
    let failed = files.into_iter().filter(|name| fields.get(name).is_some_and(|status| *status != "ok"));
    RedisFacts {
        version: text("redis_version"),
        is_replica: fields.get("role").is_some_and(|role| *role != "master"),
        appendonly: fields.get("aof_enabled").map(|on| *on == "1"),
        appendfsync: None,
        failed_writes: failed.map(str::to_owned).collect(),
        max_memory: number("maxmemory"),
        used_memory: number("used_memory"),
        eviction: text("maxmemory_policy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_info() {
        let info = "# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nused_memory:1024\r\nmaxmemory:0\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:err\r\nrole:slave\r\n";
        let facts = read(info);
        assert_eq!((facts.version.as_deref(), facts.is_replica), (Some("7.0.15"), true));
        assert_eq!((facts.appendonly, facts.max_memory, facts.used_memory), (Some(true), Some(0), Some(1024)));
        assert_eq!(facts.failed_writes, ["aof_last_write_status"]);
        assert_eq!(facts.eviction.as_deref(), Some("noeviction"));
        assert_eq!(read(""), RedisFacts::default());
    }
}
