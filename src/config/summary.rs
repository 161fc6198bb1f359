//! A configuration in a few lines.

use super::{Config, IntakeMode, Mode, Sources};

/// A line for each pool: its labels, where it registers, how many runners, which image. And one for the receiver, where
/// it is not as it is by default.
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
    lines.into_iter().chain(receiver(config)).collect::<Vec<_>>().join("\n")
}

/// How the receiver is reached, where the file says anything about it.
fn receiver(config: &Config) -> Option<String> {
    if let (IntakeMode::Pull, Some(every)) = (config.intake.mode, config.github.poll_deliveries) {
        return Some(format!("events are read from GitHub's log every {} s; no secret is needed", every.as_secs()));
    }
    let tls = config.http.tls.as_ref().map(|tls| format!("with the certificate in {}", tls.cert.display()));
    let proxies: Vec<String> = config.http.trusted_proxies.iter().map(ToString::to_string).collect();
    let proxies = (!proxies.is_empty()).then(|| format!("behind {}", proxies.join(", ")));
    let sources = match &config.intake.sources {
        Sources::Anywhere => None,
        Sources::GitHubMeta => Some("from the addresses of GitHub's hooks alone".to_owned()),
        Sources::Networks(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            Some(format!("from {} alone", networks.join(", ")))
        }
    };
    let said: Vec<String> = [tls, proxies, sources].into_iter().flatten().collect();
    (!said.is_empty())
        .then(|| format!("deliveries at {}{}, {}", config.http.listen, config.intake.path, said.join(", ")))
}
