//! A real headless Chromium, driven as a person drives it: by what can be seen and clicked.
//!
//! WebDriver (W3C) is JSON over HTTP, and the page needs a dozen of its requests; so this is them, without a client
//! library and what that brings along.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quadrille_local::Process;
use quadrille_local::client::until;
use quadrille_tests::leave_out;
use reqwest::Method;
use serde_json::{Value, json};

/// How long anything on the page may take to be as awaited.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the browser may take to answer, its start included.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(60);
/// The key under which WebDriver names an element (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How the browser is started.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// How the page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// Whether dark is preferred.
    pub dark: bool,
}

/// A desk.
pub const DESK: Look = Look {
    width: 1_440,
    height: 1_000,
    dark: false,
};
/// A desk at night.
pub const NIGHT: Look = Look { dark: true, ..DESK };
/// A phone in the hand.
pub const PHONE: Look = Look {
    width: 390,
    height: 844,
    dark: false,
};

/// The browser. It ends with this handle.
pub struct Browser {
    session: String,
    http: reqwest::Client,
    // Dropped in this order: what the browser writes goes last.
    _driver: Process,
    _profile: tempfile::TempDir,
}

/// Whether there is a browser to test with. On a developer's machine there need not be one: then these tests say so and
/// are left out. In CI there has to be.
///
/// # Panics
/// `CI` is set and there is none, unless `QUADRILLE_NO_BROWSER=1` says that there need not be.
pub fn is_there() -> bool {
    let missing: Vec<_> = ["chromium", "chromedriver"]
        .into_iter()
        .filter(|name| find(name).is_none())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(" and ");
    leave_out(
        &format!(
            "the console is tested in a real browser, and {missing} cannot be found: `apt-get install chromium \
             chromium-driver` brings both (Debian)"
        ),
        "QUADRILLE_NO_BROWSER",
    );
    false
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

impl Browser {
    /// Starts a fresh one.
    pub async fn start(look: Look) -> Result<Self> {
        Self::start_with(look, &[]).await
    }

    /// Starts a fresh one to which `name` is a name of this machine.
    pub async fn resolving(look: Look, name: &str) -> Result<Self> {
        Self::start_with(look, &[format!("--host-resolver-rules=MAP {name} 127.0.0.1")]).await
    }

    async fn start_with(look: Look, more: &[String]) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut driver = Process::builder("chromedriver", find("chromedriver").context("no chromedriver")?)
            .arg("--port=0")
            .start()?;
        let port = until(BROWSER_TIMEOUT, async || {
            ensure!(
                driver.try_status()?.is_none(),
                "chromedriver ended:\n{}",
                driver.log_tail()
            );
            let said = driver.log().join("\n");
            Ok(said.split("successfully on port ").nth(1).and_then(|rest| {
                rest.split(|c: char| !c.is_ascii_digit())
                    .next()
                    .and_then(|port| port.parse::<u16>().ok())
            }))
        });
        let port = port
            .await?
            .context("chromedriver does not say on which port it listens")?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(BROWSER_TIMEOUT)
            .build()?;
        let mut args = vec![
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},{}", look.width, look.height),
        ];
        args.extend(ARGUMENTS.map(str::to_owned));
        args.extend_from_slice(more);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "binary": find("chromium").context("no chromium")?,
                "args": args,
            },
        }}});
        let base = format!("http://127.0.0.1:{port}/session");
        let answer = request(&http, Method::POST, &base, Some(&capabilities)).await?;
        let id = answer["sessionId"].as_str().context("no session")?;
        let browser = Self {
            session: format!("{base}/{id}"),
            http,
            _driver: driver,
            _profile: profile,
        };
        browser.look(look).await?;
        Ok(browser)
    }

    /// Changes how the page is looked at.
    pub async fn look(&self, look: Look) -> Result<()> {
        let Look { width, height, dark } = look;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [scheme] }))
            .await
    }

    async fn devtools(&self, command: &str, params: Value) -> Result<()> {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": params }))
            .await
            .map(drop)
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// Ends the browser in good order.
    pub async fn quit(self) -> Result<()> {
        request(&self.http, Method::DELETE, &self.session, None)
            .await
            .map(drop)
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Result<Value> {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// What the page and the browser have complained about: errors, refused resources.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await?;
        let log = log.as_array().into_iter().flatten();
        Ok(log
            .filter_map(|line| line["message"].as_str().map(str::to_owned))
            .collect())
    }

    /// Waits until something that `xpath` names can be seen, and clicks it.
    pub async fn click(&self, xpath: &str) -> Result<()> {
        self.on(xpath, "/click", json!({})).await
    }

    /// Replaces what is in a field.
    pub async fn fill(&self, xpath: &str, text: &str) -> Result<()> {
        self.on(xpath, "/clear", json!({})).await?;
        self.on(xpath, "/value", json!({ "text": text })).await
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| {
                [
                    json!({"type": "keyDown", "value": key}),
                    json!({"type": "keyUp", "value": key}),
                ]
            })
            .collect();
        let keyboard = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.post("/actions", keyboard).await.map(drop)
    }

    /// Waits until what `xpath` names can be seen, and returns what it says.
    pub async fn text(&self, xpath: &str) -> Result<String> {
        self.shows(xpath, "").await
    }

    /// Waits until what `xpath` names can be seen and says `words`, and returns all that it says.
    pub async fn shows(&self, xpath: &str, words: &str) -> Result<String> {
        let mut last = None;
        let shown = until(PATIENCE, async || {
            let Some(element) = self.find(xpath).await? else {
                return anyhow::Ok(None);
            };
            // It may be gone again.
            let Ok(text) = self.get(&format!("/element/{element}/text")).await else {
                return Ok(None);
            };
            let text = text.as_str().unwrap_or_default().to_owned();
            let fits = text.contains(words);
            last = Some(text.clone());
            Ok(fits.then_some(text))
        });
        match shown.await? {
            Some(text) => Ok(text),
            None => bail!(
                "{xpath} does not say {words:?}: {last:?}; the page says\n{}",
                self.page().await?
            ),
        }
    }

    /// Waits until nothing that `xpath` names can be seen.
    pub async fn is_gone(&self, xpath: &str) -> Result<()> {
        let gone = until(PATIENCE, async || {
            anyhow::Ok(self.find(xpath).await?.is_none().then_some(()))
        });
        gone.await?.with_context(|| format!("{xpath} is still there"))
    }

    /// Whether what `xpath` names can be seen right now.
    pub async fn sees(&self, xpath: &str) -> Result<bool> {
        Ok(self.find(xpath).await?.is_some())
    }

    async fn page(&self) -> Result<String> {
        Ok(self
            .script("return document.body.innerText")
            .await?
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// The first of those that `xpath` names that can be seen.
    async fn find(&self, xpath: &str) -> Result<Option<String>> {
        let found = self
            .post("/elements", json!({ "using": "xpath", "value": xpath }))
            .await?;
        for element in found.as_array().into_iter().flatten() {
            let Some(id) = element[ELEMENT].as_str() else {
                continue;
            };
            if self
                .get(&format!("/element/{id}/displayed"))
                .await
                .is_ok_and(|shown| shown == true)
            {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }

    async fn on(&self, xpath: &str, what: &str, body: Value) -> Result<()> {
        let mut problem = None;
        let done = until(PATIENCE, async || {
            let Some(element) = self.find(xpath).await? else {
                return anyhow::Ok(None);
            };
            match self
                .post(&format!("/element/{element}{what}"), body.clone())
                .await
            {
                Ok(_) => Ok(Some(())),
                Err(error) => {
                    problem = Some(error);
                    Ok(None)
                }
            }
        });
        match done.await? {
            Some(()) => Ok(()),
            None => bail!(
                "cannot {what} {xpath}: {problem:?}; the page says\n{}",
                self.page().await?
            ),
        }
    }

    /// A picture of what can be seen.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let picture = self.get("/screenshot").await?;
        let picture = decode_base64(picture.as_str().context("no picture")?).context("no base64")?;
        std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        request(&self.http, Method::GET, &format!("{}{path}", self.session), None).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        request(
            &self.http,
            Method::POST,
            &format!("{}{path}", self.session),
            Some(&body),
        )
        .await
    }
}

async fn request(http: &reqwest::Client, method: Method, url: &str, body: Option<&Value>) -> Result<Value> {
    let mut request = http.request(method.clone(), url);
    if let Some(body) = body {
        request = request.json(body);
    }
    let mut answer: Value = request.send().await?.json().await?;
    let value = answer["value"].take();
    if let Some(error) = value["error"].as_str() {
        bail!(
            "{method} {url}: {error}: {}",
            value["message"].as_str().unwrap_or_default()
        );
    }
    Ok(value)
}

/// RFC 4648, section 4.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().filter(|byte| *byte != b'=').map(|byte| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            0..=255 => return None,
        }))
    });
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let bits = (0..4).fold(0, |bits, place| {
            bits << 6 | group.get(place).copied().unwrap_or(0)
        });
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

#[test]
fn base64_is_read() {
    assert_eq!(decode_base64("Zm9vYmFy").unwrap(), b"foobar");
    assert_eq!(decode_base64("Zm9vYg==").unwrap(), b"foob");
    assert_eq!(decode_base64("Zm9vYmE=").unwrap(), b"fooba");
    assert!(decode_base64("a b").is_none());
}
