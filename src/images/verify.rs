//! Whether a runner could work in an image: looked at before the image is used, not when the first job fails.

use super::ImageError;
use crate::config::Pool;
use crate::provider::docker::images::EngineImage;
use crate::provider::docker::{Docker, Inside};

/// What a pool without a command runs.
const RUN_SH: &str = "/home/runner/run.sh";

/// Looks into the image.
pub(super) async fn verify(docker: &Docker, pool: &Pool, image: &EngineImage) -> Result<(), ImageError> {
    let paths = candidates(pool, image);
    let inside = docker.look_inside(&image.id, &paths).await?;
    judge(pool, image, &paths, &inside).map_err(ImageError::Unfit)
}

/// Where the pool's command may be.
fn candidates(pool: &Pool, image: &EngineImage) -> Vec<String> {
    let command = pool.command.first().map_or(RUN_SH, String::as_str);
    let below = |folder: &str| format!("{}/{}", folder.trim_end_matches('/'), command.trim_start_matches("./"));
    if command.starts_with('/') {
        vec![command.to_owned()]
    } else if command.contains('/') {
        vec![below(&image.work_dir)]
    } else {
        let path = image.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
        path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(':').map(below).collect()
    }
}

fn judge(pool: &Pool, image: &EngineImage, paths: &[String], inside: &Inside) -> Result<(), String> {
    // Where the pool names a user, it is meant.
    if pool.user.is_none() && is_root(&image.user, inside.passwd.as_deref()) {
        return Err(format!(
            "it runs as root{}, and GitHub's agent refuses that: end the Dockerfile with `USER runner`, or set the pool's \
             `user`",
            if image.user.is_empty() { String::new() } else { format!(" (USER {})", image.user) }
        ));
    }
    let command = pool.command.first().map_or(RUN_SH, String::as_str);
    if inside.found.is_empty() {
        let at = if paths.len() == 1 { paths[0].clone() } else { format!("{command} (in {})", paths.join(", ")) };
        return Err(format!(
            "{at} is not in it: build on the official image (or one with the agent in it), or set the pool's `command`"
        ));
    }
    if inside.found.values().all(|can_run| !can_run) {
        return Err(format!("{} cannot be run: make it executable (`RUN chmod +x …`)", paths.join(", ")));
    }
    Ok(())
}

/// `USER` may be a name or a number, with a group behind it.
fn is_root(user: &str, passwd: Option<&str>) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    if name.is_empty() || name == "root" {
        return true;
    }
    if let Ok(id) = name.parse::<u32>() {
        return id == 0;
    }
    passwd.unwrap_or_default().lines().any(|line| {
        let mut fields = line.split(':');
        fields.next() == Some(name) && fields.nth(1) == Some("0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_many_names() {
        let passwd = Some("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nrunner:x:1001:1001::/home/runner:/bin/sh\n");
        for user in ["", "root", "0", "0:1001", "root:docker", "toor", "000"] {
            assert!(is_root(user, passwd), "{user}");
        }
        for user in ["runner", "1001", "runner:docker", "stranger"] {
            assert!(!is_root(user, passwd), "{user}");
        }
        assert!(!is_root("runner", None));
    }
}
