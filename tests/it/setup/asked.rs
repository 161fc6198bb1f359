use super::{PATIENCE, PROGRAM, Way, get, install};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// `setup` at a terminal of its own (`script` of util-linux gives one).
struct Terminal {
    script: Child,
    page: PathBuf,
}

impl Terminal {
    fn open(way: &Way, name: &str) -> Self {
        let page = way.path(name);
        let like = way.command(&[]);
        let mut command = Command::new("script");
        // `exec`: a shell around it would be interrupted as well, and some shells end with a code of their own then.
        command.args(["-qefc", &format!("exec '{PROGRAM}' setup --no-browser --port 0")]).arg(&page);
        command.current_dir(way.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        for (key, value) in like.as_std().get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env("TERM", "xterm");
        Self { script: command.spawn().expect("`script` (bsdutils) is needed by these tests"), page }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.page).unwrap_or_default()).into_owned()
    }

    /// Waits for the question, then answers.
    async fn answers(&mut self, question: &str, answer: &str) {
        self.shows(question).await;
        let stdin = self.script.stdin.as_mut().expect("it is piped");
        stdin.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    async fn shows(&self, words: &str) -> String {
        let wait = async {
            while !self.shown().contains(words) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {words} in {}", self.shown()));
        self.shown()
    }

    async fn ended(mut self) -> (Option<i32>, String) {
        let code = tokio::time::timeout(PATIENCE, self.script.wait()).await.expect("it ends").unwrap().code();
        (code, self.shown())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_it_asks_for_what_it_needs() {
    let way = Way::begin().await;
    // As `init --defaults` leaves it.
    way.write(&way.config("acme").replace(&way.org(), "https://github.com/your-organization"));
    let mut terminal = Terminal::open(&way, "first.txt");
    terminal.answers("Organization at GitHub", "enterprises/x").await;
    terminal.answers("is an enterprise", &way.org()).await;
    terminal.answers("Where does GitHub reach this machine", "").await;
    let told = terminal.shows("Ctrl-C to come back later").await;
    for way_in in ["a proxy with TLS", "a tunnel", "intake: { mode: pull }", "http.tls"] {
        assert!(told.contains(way_in), "no {way_in} in {told}");
    }
    // The webhook's whole address means the same.
    terminal.answers("Ctrl-C to come back later", &format!("{}/webhook", way.url())).await;
    let shown = terminal.shows("It answers on this machine alone").await;
    let line = shown.lines().find(|line| line.trim().starts_with("http://127.0.0.1:")).unwrap();
    let back = super::created(&way, line.trim(), None).await;
    assert_eq!(get(&back).await.status, 200);
    terminal.shows("is not installed").await;
    install(&way, "acme").await;
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(way.text().contains(&format!("org_url: '{}'", way.org())), "{}", way.text());

    // The App is there: it is gone on with, if the person wants it.
    let mut terminal = Terminal::open(&way, "second.txt");
    terminal.answers("names the App `runnerfleet-acme` already. Go on with it", "").await;
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(0), "{shown}");

    // Its webhook was changed by somebody: nothing is changed back without a yes.
    way.github.set_webhook("http://127.0.0.1:9/webhook", None);
    let mut terminal = Terminal::open(&way, "third.txt");
    terminal.answers("Go on with it", "yes").await;
    terminal.answers("it delivers to http://127.0.0.1:9/webhook", "no").await;
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(1), "{shown}");
    let mut terminal = Terminal::open(&way, "fourth.txt");
    terminal.answers("Go on with it", "yes").await;
    terminal.answers("Change it?", "yes").await;
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(0), "{shown}");

    // Ctrl-C at a question ends it.
    let mut terminal = Terminal::open(&way, "fifth.txt");
    terminal.shows("Go on with it").await;
    terminal.script.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("what is done stays done"), "{shown}");
}
