//! A configuration in a few lines.

use super::{Config, Mode};

/// A line for each pool: its labels, where it registers, how many runners, which image.
pub fn summary(config: &Config) -> String {
    let width = config.pools.iter().map(|pool| pool.name.as_str().len()).max().unwrap_or_default();
    let lines: Vec<String> = config
        .pools
        .iter()
        .map(|pool| {
            let many = match pool.mode {
                Mode::Ephemeral => format!("{} idle, at most {}", pool.min_idle, pool.max),
                Mode::Persistent { count } => format!("{count} kept"),
            };
            let made = pool.build.as_ref().map_or_else(String::new, |build| {
                let path = build.dockerfile.strip_prefix(&config.folder).unwrap_or(&build.dockerfile);
                format!(" from {}", path.display())
            });
            format!("{:width$}  {} at {}, {many}, {}{made}", pool.name, pool.labels, pool.scope, pool.image)
        })
        .collect();
    lines.join("\n")
}
