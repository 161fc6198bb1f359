//! From nothing to an App that is installed and heard of. The program is a process, GitHub is simulated with its pages, and a
//! client without a screen plays the person at the browser. `browser` has the same story in a real one.

/// The questions to a person at a terminal.
mod asked;
/// The way from nothing, cut off and gone on with.
mod beginning;
/// The whole story in Chromium, with `serve`, a job and a runner on real Docker.
mod browser;
/// Another secret, another key, without a lost delivery.
mod exchange;
/// Automation: flags and variables, and an App that exists.
mod existing;
/// What can go wrong, each with its own words.
mod failures;

use crate::support::openapi::{check_request, check_response};
use crate::support::program::{PROGRAM, Process, Said, run};
use reqwest::redirect::Policy;
use runnerfleet::simulation::github::{Handle, Options, SimulatedGitHub};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(90);

/// A folder, and a GitHub (an Enterprise Server on loopback, so that its pages and its API follow from `org_url`).
struct Way {
    github: Handle,
    folder: tempfile::TempDir,
    /// Where the receiver is to listen: it has to be known before anybody listens there.
    listen: SocketAddr,
}

/// A setup that runs.
struct Running {
    process: Process,
    log: PathBuf,
}

impl Way {
    /// GitHub knows no App yet, and there is no configuration.
    async fn begin() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { base_path: "/api/v3".to_owned(), ..Options::acme_without_app() };
        change(&mut options);
        let github = SimulatedGitHub::start(options).await.expect("the simulated GitHub");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listen = free.local_addr().unwrap();
        Self { github, folder: tempfile::tempdir().expect("a folder"), listen }
    }

    /// The same, with a configuration that has everything but the App.
    async fn with_config() -> Self {
        let way = Self::begin().await;
        way.write(&way.config("acme"));
        way
    }

    /// A configuration of a person's: comments, and an order of its own.
    fn config(&self, scope: &str) -> String {
        format!(
            "# ours\nversion: 1\nrunners:\n  - id: linux   # the only one\n    labels: [linux]\n\
             http:\n  # behind caddy\n  listen: {}\n\
             runners_defaults: {{ base_image: \"runner:1\", org_url: \"{}/{scope}\" }}\n\
             intake:\n  secrets:\n    - ${{WEBHOOK_SECRET}}   # from before\n\
             security:\n  instance: theirs\n",
            self.listen,
            self.github.web_url()
        )
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("runners_config.yaml"), text).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path("runners_config.yaml")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn org(&self) -> String {
        format!("{}/acme", self.github.web_url())
    }

    /// Where GitHub reaches the receiver.
    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.folder.path());
        for name in ["RUNNERFLEET_CONFIG", "RUST_LOG", "GITHUB_TOKEN", "WEBHOOK_SECRET", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments)).await
    }

    /// `setup` with these arguments, to its end.
    async fn setup(&self, arguments: &[&str]) -> Said {
        self.run(&[&["setup", "--port", "0", "--no-browser"], arguments].concat()).await
    }

    /// `setup` in the background.
    fn start(&self, arguments: &[&str]) -> Running {
        let all = [&["setup", "--port", "0", "--no-browser"], arguments].concat();
        let number = std::fs::read_dir(self.folder.path()).unwrap().count();
        let log = self.path(&format!("setup-{number}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let process = Process::spawn(self.command(&all).stderr(file.try_clone().unwrap()).stdout(Stdio::from(file)));
        Running { process, log }
    }

    /// All that GitHub was asked is as its description says.
    fn asked_rightly(&self) {
        for it in self.github.exchanges().iter().filter(|it| !it.faulty) {
            check_response(&it.method, &it.path, it.status, it.response.as_ref()).unwrap();
            if it.status < 300 {
                check_request(&it.method, &it.path, &it.query, it.request.as_ref()).unwrap();
            }
        }
    }

    /// What is in the key and the secret, as far as they are there.
    fn secrets(&self) -> Vec<String> {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        let key = read("secrets/github-app.pem");
        let secret = read("secrets/webhook-secret");
        let key = key.lines().filter(|line| !line.starts_with(['-', '#'])).map(str::to_owned);
        key.chain(secret.lines().map(str::to_owned)).collect()
    }

    fn tells_no_secret(&self, text: &str) {
        for secret in self.secrets() {
            assert!(!text.contains(&secret[..secret.len().min(24)]), "{text}");
        }
    }
}

impl Running {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn says(&mut self, words: &str) -> String {
        let wait = async {
            loop {
                let said = self.said();
                if said.contains(words) {
                    return said;
                }
                assert!(!self.process.is_over(), "it ended without `{words}`: {}", self.said());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, wait).await;
        seen.unwrap_or_else(|_| panic!("not said: {words}"))
    }

    /// The address of its page.
    async fn page(&mut self) -> String {
        let said = self.says("It answers on this machine alone").await;
        said.lines()
            .find_map(|line| line.strip_prefix("  http://127.0.0.1:"))
            .map(|rest| format!("http://127.0.0.1:{rest}"))
            .unwrap()
    }

    async fn ended(&mut self) -> (Option<i32>, String) {
        let code = tokio::time::timeout(PATIENCE, self.process.ended()).await.expect("it ends");
        (code, self.said())
    }

    /// Ctrl-C.
    async fn interrupt(&mut self) -> String {
        self.process.signal(Signal::INT);
        let (code, said) = self.ended().await;
        assert_eq!(code, Some(1), "{said}");
        said
    }
}

/// What a person sees: status, where it leads, text.
struct Seen {
    status: u16,
    location: String,
    text: String,
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap()
}

async fn get(url: &str) -> Seen {
    seen(client().get(url)).await
}

async fn post(url: &str, fields: &[(&str, &str)]) -> Seen {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    seen(client().post(url).body(body.join("&"))).await
}

async fn seen(request: reqwest::RequestBuilder) -> Seen {
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    Seen { status: answer.status().as_u16(), location, text: answer.text().await.unwrap() }
}

/// As a browser reads it.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [("&quot;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")] {
        text = text.replace(from, to);
    }
    text
}

/// The value of an attribute behind these words.
fn behind(html: &str, words: &str) -> String {
    let rest = html.split_once(words).unwrap_or_else(|| panic!("no {words} in {html}")).1;
    unescaped(rest.split('"').next().unwrap())
}

/// The form on our page: where it goes, and the manifest.
async fn form(address: &str) -> (String, String) {
    let page = get(address).await;
    assert_eq!(page.status, 200, "{}", page.text);
    (behind(&page.text, "action=\""), behind(&page.text, "name=\"manifest\" value=\""))
}

/// From our page over GitHub's to the address to which GitHub sends the person back.
async fn created(way: &Way, address: &str, name: Option<&str>) -> String {
    let (action, manifest) = form(address).await;
    let confirm = post(&action, &[("manifest", &manifest)]).await;
    assert_eq!(confirm.status, 200, "{}", confirm.text);
    let hidden = |field: &str| behind(&confirm.text, &format!("name=\"{field}\" value=\""));
    let (given, account, state, manifest) = (hidden("name"), hidden("account"), hidden("state"), hidden("manifest"));
    let name = name.unwrap_or(&given);
    let fields = [("name", name), ("account", &account), ("state", &state), ("manifest", &manifest)];
    let made = post(&format!("{}/_pages/apps", way.github.web_url()), &fields).await;
    assert_eq!(made.status, 302, "{}", made.text);
    made.location
}

/// The whole way there and back; the page at its end.
async fn make(way: &Way, running: &mut Running) -> Seen {
    let address = running.page().await;
    let back = created(way, &address, None).await;
    get(&back).await
}

/// Until GitHub has an App; it may be a moment later than its page.
async fn install(way: &Way, account: &str) {
    assert!(way.github.install(account, None).is_some(), "there is an App");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
