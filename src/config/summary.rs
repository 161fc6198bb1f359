//! A configuration in a few lines.

use super::Config;

/// A line for each pool: its labels, where it registers, how many runners, which image.
pub fn summary(config: &Config) -> String {
    let width = config.pools.iter().map(|pool| pool.name.as_str().len()).max().unwrap_or_default();
    let lines: Vec<String> = config
        .pools
        .iter()
        .map(|pool| {
            format!(
                "{:width$}  {} at {}, {} idle, at most {}, {}",
                pool.name, pool.labels, pool.scope, pool.min_idle, pool.max, pool.image
            )
        })
        .collect();
    lines.join("\n")
}
