//! What became of a delivery that GitHub was asked to send again, and what to do about it. Pure.

use crate::github::Delivery;

/// What the receiver here saw of it, where it was ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It came, signed with the secret of this number (0: the first).
    Verified {
        /// Which of the valid secrets.
        secret: usize,
    },
    /// It came, and its signature is wrong; why.
    Refused(String),
    /// Nothing came.
    Nothing,
    /// Somebody else listens there.
    NotOurs,
}

/// How GitHub's log puts it.
pub fn logged(delivery: &Delivery) -> String {
    match delivery.status_code {
        0 => format!("`{}`", delivery.status),
        code => format!("{code} `{}`", delivery.status),
    }
}

/// What is wrong where GitHub's log shows the delivery as failed, and what to do. `url` is where the hook delivers, `listen`
/// where the receiver listens.
pub fn advice(delivery: &Delivery, heard: &Heard, url: &str, listen: &str) -> String {
    let log = logged(delivery);
    let what = match (delivery.status_code, heard) {
        (_, Heard::Refused(why)) => format!(
            "it came here and its signature is wrong ({why}): the App's webhook has another secret; \
             `runnerfleet setup --set-webhook` sets ours there"
        ),
        (401, _) => {
            "the receiver does not know the secret: `runnerfleet setup --set-webhook` sets ours at GitHub, or a proxy \
             before it asks for a password"
                .to_owned()
        }
        (0, _) => format!(
            "GitHub cannot connect to {url}: look whether its name is known in public DNS, its port is open to GitHub, its \
             certificate is valid, and the proxy or tunnel runs"
        ),
        (502..=504, _) => {
            format!("a proxy or tunnel answers at {url} and does not reach {listen}: let it forward there")
        }
        (301..=308, _) => format!("{url} redirects, which GitHub does not follow: give the address to which it leads"),
        (404 | 405, _) => format!(
            "{url} leads to something else: the path must be `intake.path`, at the right host \
             (and a `serve` that was started without a secret takes nothing: start it again)"
        ),
        (403, _) => {
            "it is not let through: `intake.source_allowlist`, or a firewall or proxy before the receiver".to_owned()
        }
        (415, _) => "the webhook sends forms: `runnerfleet setup --set-webhook` sets its content type".to_owned(),
        (_, Heard::NotOurs) => format!("what listens on {listen} did not take it; its log says more"),
        (_, _) => "the receiver did not take it; its log says more".to_owned(),
    };
    format!("GitHub's log says {log}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(code: u16, status: &str) -> Delivery {
        Delivery {
            id: 1,
            guid: "g".to_owned(),
            delivered_at: jiff::Timestamp::UNIX_EPOCH,
            redelivery: true,
            duration: 0.1,
            status: status.to_owned(),
            status_code: code,
            event: "ping".to_owned(),
            action: None,
            installation_id: None,
            repository_id: None,
        }
    }

    #[test]
    fn each_answer_has_its_remedy() {
        let say = |code, status: &str, heard: &Heard| {
            advice(&delivery(code, status), heard, "https://ci.example.com/webhook", "127.0.0.1:8080")
        };
        for (code, words) in [
            (0, "GitHub cannot connect to https://ci.example.com/webhook"),
            (401, "setup --set-webhook"),
            (403, "source_allowlist"),
            (404, "intake.path"),
            (302, "does not follow"),
            (415, "content type"),
            (502, "does not reach 127.0.0.1:8080"),
            (500, "its log says more"),
        ] {
            let told = say(code, "Invalid HTTP Response", &Heard::Nothing);
            assert!(told.starts_with("GitHub's log says ") && told.contains(words), "{code}: {told}");
        }
        let told = say(401, "Invalid HTTP Response: 401", &Heard::Refused("no match".to_owned()));
        assert!(told.contains("it came here") && told.contains("(no match)"), "{told}");
        assert!(say(0, "timed out", &Heard::NotOurs).contains("`timed out`"));
    }
}
