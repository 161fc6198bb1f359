//! A real registry (Debian's `docker-registry`) on loopback, where engines ask for no TLS. It ends with its guard.

use super::docker::docker;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Who may, at a registry that asks.
pub const USER: &str = "alice";
pub const PASSWORD: &str = "pw-of-alice";

/// See the file's head.
pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub address: String,
    pub folder: tempfile::TempDir,
    process: Child,
}

impl Registry {
    /// Everybody may read and write.
    pub fn open() -> Self {
        Self::start(|_| String::new())
    }

    /// Only [`USER`] with [`PASSWORD`] may (basic authentication).
    pub fn closed() -> Self {
        Self::start(|folder| {
            let output = Command::new("htpasswd").args(["-nbB", USER, PASSWORD]).output();
            let output = output.expect("`htpasswd` (apache2-utils) is needed by these tests");
            assert!(output.status.success(), "{output:?}");
            let path = folder.join("htpasswd");
            std::fs::write(&path, output.stdout).unwrap();
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
        })
    }

    /// With more lines for its configuration, made once its folder is there (`auth: …`).
    pub fn start(more: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more = more(folder.path());
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{more}",
            folder.path().join("data").display()
        );
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let mut process = Command::new("docker-registry")
            .args(["serve".as_ref(), path.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`docker-registry` is needed by these tests");
        let output = BufReader::new(process.stderr.take().expect("it is piped"));
        let (sender, receiver) = mpsc::channel();
        // Read to its end: a full pipe would stop the registry.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut said = String::new();
        let address = loop {
            match receiver.recv_timeout(Duration::from_secs(30)) {
                Ok(line) => match line.split_once("listening on ") {
                    Some((_, rest)) => break rest.split(['"', ' ', ',']).next().unwrap_or_default().to_owned(),
                    None => said.push_str(&line),
                },
                Err(why) => {
                    let _ = process.kill();
                    let _ = process.wait();
                    panic!("docker-registry does not start ({why}): {said}");
                }
            }
        };
        Self { address, folder, process }
    }

    /// `127.0.0.1:PORT/name`.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Tags a local image with a name of this registry and pushes it; the digest of its manifest. The local tag goes.
    pub fn push(&self, local: &str, name: &str) -> String {
        let reference = self.image(name);
        docker(&["tag", local, &reference]);
        // A configuration of its own: what a test logs in to is nobody else's.
        let home = self.folder.path().join("docker");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("config.json"), self.login()).unwrap();
        let output = Command::new("docker").arg("--config").arg(&home).args(["push", &reference]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        docker(&["rmi", &reference]);
        let digest = text.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no digest: {text}")).to_owned()
    }

    /// Docker's `config.json` with the login of [`USER`].
    pub fn login(&self) -> String {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        serde_json::json!({ "auths": { &self.address: { "auth": auth } } }).to_string()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // What was pulled from here is good for nothing any more. By name: other names of an image stay.
        let names = ["{{.Repository}}:{{.Tag}}", "{{.Repository}}@{{.Digest}}"];
        for format in names {
            let images = Command::new("docker").args(["images", "--digests", "--format", format]).output();
            let images = images.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            for image in images.lines().filter(|name| name.starts_with(&self.address) && !name.ends_with("<none>")) {
                let _ = Command::new("docker").args(["rmi", "-f", image]).output();
            }
        }
    }
}
