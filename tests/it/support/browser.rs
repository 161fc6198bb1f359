//! Chromium without a screen, driven over WebDriver (plain HTTP and JSON) through `chromedriver`. Both have a folder of their
//! own, talk to loopback alone, and end with this, also when the test fails.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A browser starts within a second or two; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How WebDriver's JSON calls an element (W3C WebDriver, "Elements").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// See the file's head.
pub struct Browser {
    driver: Child,
    pid: Option<Pid>,
    session: String,
    client: reqwest::Client,
    profile: tempfile::TempDir,
}

/// Where distributions put it.
fn program() -> &'static str {
    let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/snap/bin/chromium"];
    places.into_iter().find(|path| std::path::Path::new(path).exists()).expect("`chromium` is needed by these tests")
}

impl Browser {
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let profile = tempfile::tempdir().expect("a folder");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`chromedriver` (Debian: chromium-driver) is needed by these tests");
        let said = BufReader::new(driver.stdout.take().expect("it is piped"));
        let port = tokio::task::spawn_blocking(move || {
            said.lines().map_while(Result::ok).find_map(|line| {
                let port = line.split("started successfully on port ").nth(1)?;
                port.trim_end_matches('.').parse::<u16>().ok()
            })
        });
        // From here on whatever fails ends the driver.
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut browser = Self { driver, pid: None, session: String::new(), client, profile };
        let port = tokio::time::timeout(PATIENCE, port).await.expect("chromedriver starts").unwrap();
        let base = format!("http://127.0.0.1:{}", port.expect("chromedriver says its port"));
        let data = browser.profile.path().join("profile");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--no-proxy-server".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--user-data-dir={}", data.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": program(), "args": arguments },
        } } });
        let made = browser.client.post(format!("{base}/session")).body(wanted.to_string()).send().await;
        let made: Value = serde_json::from_slice(&made.expect("chromedriver answers").bytes().await.unwrap()).unwrap();
        let value = &made["value"];
        let id = value["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {made}"));
        browser.session = format!("{base}/session/{id}");
        let pid = value["capabilities"]["goog:processID"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        browser.pid = pid.and_then(Pid::from_raw);
        browser
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.client.request(method, format!("{}/{path}", self.session));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.expect("chromedriver answers");
        let ok = answer.status().is_success();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        if ok { Ok(body["value"].clone()) } else { Err(body["value"]["message"].to_string()) }
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        self.ask(reqwest::Method::GET, path, None).await
    }

    pub async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await.expect("the page opens");
    }

    pub async fn address(&self) -> String {
        self.get("url").await.expect("there is a page").as_str().unwrap().to_owned()
    }

    /// The page as it stands.
    pub async fn source(&self) -> String {
        self.get("source").await.unwrap_or_default().as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page has it.
    async fn element(&self, selector: &str) -> String {
        let wait = async {
            loop {
                let found = self.post("element", json!({ "using": "css selector", "value": selector })).await;
                if let Ok(Value::Object(found)) = found
                    && let Some(id) = found.get(ELEMENT).and_then(Value::as_str)
                {
                    return id.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let Ok(id) = tokio::time::timeout(PATIENCE, wait).await else {
            panic!("no {selector} at {}: {}", self.address().await, self.source().await)
        };
        id
    }

    pub async fn text(&self, selector: &str) -> String {
        let id = self.element(selector).await;
        self.get(&format!("element/{id}/text")).await.expect("it is there").as_str().unwrap().to_owned()
    }

    pub async fn click(&self, selector: &str) {
        let id = self.element(selector).await;
        self.post(&format!("element/{id}/click"), json!({})).await.expect("it can be clicked");
    }

    /// Types into a field, in place of what is there.
    pub async fn fill(&self, selector: &str, text: &str) {
        let id = self.element(selector).await;
        self.post(&format!("element/{id}/clear"), json!({})).await.expect("it is a field");
        self.post(&format!("element/{id}/value"), json!({ "text": text })).await.expect("it is a field");
    }

    /// Ends it as a person does.
    pub async fn close(self) {
        let _ = self.ask(reqwest::Method::DELETE, "", None).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // Its helpers are of its group, where it has one of its own. Gone already is fine.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
