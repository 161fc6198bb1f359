//! What the images that are made here are called: one repository for each pool of a fleet, in it one tag for each
//! build and one, `current`, that moves.

use super::ids::{InstanceId, PoolName};

/// `runnerfleet/<instance>/<pool>`. Docker wants lower case; ids that differ only in case are refused by the configuration.
pub fn repository(instance: &InstanceId, pool: &PoolName) -> String {
    format!("runnerfleet/{}/{}", component(instance.as_str()), component(pool.as_str()))
}

/// The moving tag: what runners of the pool are made from.
pub fn current(instance: &InstanceId, pool: &PoolName) -> String {
    format!("{}:current", repository(instance, pool))
}

/// One component of a repository's name: letters and digits at both ends, single separators between.
fn component(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            text.push(c.to_ascii_lowercase());
        } else if !text.is_empty() && !text.ends_with('-') {
            text.push('-');
        }
    }
    let text = text.trim_end_matches('-');
    if text.is_empty() { "x".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pool_has_a_repository_that_docker_takes() {
        let name = |instance: &str, pool: &str| current(&InstanceId::new(instance), &PoolName::new(pool));
        assert_eq!(name("default", "web"), "runnerfleet/default/web:current");
        assert_eq!(name("Prod_1", "Node.22--"), "runnerfleet/prod-1/node-22:current");
        assert_eq!(name("", "__"), "runnerfleet/x/x:current");
    }
}
