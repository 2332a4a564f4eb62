//! What `/metrics` says, read as Prometheus does: its text format, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use quadrille_local::Service;
use quadrille_tests::{PATIENCE, World};

/// Everything that some programs say at a moment.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The types of the families, by name; every family has one, and help.
    pub types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// All four services, and the console if there is one.
    pub async fn of(world: &World, console: Option<&str>) -> Self {
        let services = Service::ALL.map(|service| world.api().url(service).to_owned());
        let mut all = Self::default();
        for url in services.iter().map(String::as_str).chain(console) {
            all.read(&text(url).await);
        }
        all
    }

    /// Takes in one page.
    ///
    /// # Panics
    /// It is not in the format.
    pub fn read(&mut self, text: &str) {
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("help has words");
                assert!(help.len() > 10, "{line}");
                helped.insert(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(helped.contains(name), "{name} has no help");
                name.clone_into(&mut family);
                self.types.insert(name.to_owned(), kind.to_owned());
            } else {
                let sample = sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                let suffixes: &[&str] = match self.types.get(&family).map(String::as_str) {
                    Some("histogram") => &["_bucket", "_sum", "_count"],
                    Some(_) | None => &[""],
                };
                let fits = suffixes
                    .iter()
                    .any(|suffix| sample.name == format!("{family}{suffix}"));
                assert!(fits, "{line} is none of {family}");
                self.samples.push(sample);
            }
        }
    }

    /// Whether there is a sample of this name: `..._bucket` of a histogram.
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// The sum of all samples of this name that have these labels; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).iter().sum()
    }

    /// All samples of this name that have these labels.
    pub fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let has = |sample: &Sample, (key, value): &(&str, &str)| {
            sample.labels.get(*key).is_some_and(|found| found == value)
        };
        self.samples
            .iter()
            .filter(|sample| sample.name == name && labels.iter().all(|label| has(sample, label)))
            .map(|sample| sample.value)
            .collect()
    }
}

/// What a program says at `/metrics`.
pub async fn text(url: &str) -> String {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let answer = http.get(format!("{url}/metrics")).send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(
        (answer.status().as_u16(), kind.as_str()),
        (200, "text/plain; version=0.0.4")
    );
    answer.text().await.unwrap()
}

/// `name{key="value",...} 1`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, inside) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}')?),
    };
    let mut labels = BTreeMap::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let (key, quoted) = rest.split_once("=\"")?;
        let end = quoted.find('"')?;
        // None of our labels needs an escape; one that did would be cut, and its key seen to be none.
        labels.insert(key.trim_start_matches(',').to_owned(), quoted[..end].to_owned());
        rest = &quoted[end + 1..];
    }
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (word(name) && labels.keys().all(|key| word(key))).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}
