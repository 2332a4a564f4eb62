//! Settings: environment variables. An error names the variable and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{anyhow, bail};

/// The settings of a program: the environment, or a map in tests.
#[derive(Clone, Debug)]
pub struct Settings(Source);

#[derive(Clone, Debug)]
enum Source {
    Environment,
    Map(BTreeMap<String, String>),
}

impl Settings {
    /// The process's environment.
    pub fn from_env() -> Self {
        Self(Source::Environment)
    }

    /// Exactly these settings.
    pub fn of(pairs: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        Self(Source::Map(
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
        ))
    }

    /// The value of `name`, if it is set and not empty.
    ///
    /// # Errors
    /// Names the variable, its value and what is wrong with it.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let value = match &self.0 {
            Source::Environment => std::env::var(name).ok(),
            Source::Map(map) => map.get(name).cloned(),
        };
        match value {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(problem) => Err(anyhow!("{name}={text}: {problem}")),
            },
        }
    }

    /// The value of `name`, else `default`.
    ///
    /// # Errors
    /// As [`Settings::get`].
    pub fn or<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> anyhow::Result<T> {
        Ok(self.get(name)?.unwrap_or(default))
    }

    /// A span of time such as `15m`, `30d`, `250ms`, else `default`.
    ///
    /// # Errors
    /// As [`Settings::get`]; a negative span is one.
    pub fn duration(&self, name: &str, default: Duration) -> anyhow::Result<Duration> {
        Ok(self.get::<Span>(name)?.map_or(default, |span| span.0))
    }

    /// `RETENTION`: how long an entry lives from the moment it is stored, 30 days by default; `None` (set as `0s`) is for
    /// ever. Whatever waits has to end within it.
    ///
    /// # Errors
    /// As [`Settings::get`].
    pub fn retention(&self) -> anyhow::Result<Option<Duration>> {
        let retention = self.duration("RETENTION", Duration::from_secs(30 * 86_400))?;
        Ok((!retention.is_zero()).then_some(retention))
    }

    /// A probability from 0 to 1, else 0.
    ///
    /// # Errors
    /// As [`Settings::get`].
    pub fn rate(&self, name: &str) -> anyhow::Result<f64> {
        let rate: f64 = self.or(name, 0.0)?;
        if !(0.0..=1.0).contains(&rate) {
            bail!("{name}={rate}: must be a rate from 0 to 1");
        }
        Ok(rate)
    }
}

struct Span(Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits]
            .parse()
            .map_err(|_| "must be a number and a unit: 250ms, 30s, 15m, 2h, 30d")?;
        let milliseconds = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            unit => {
                return Err(format!(
                    "knows no unit `{unit}`; use ms, s, m, h or d: 250ms, 30s, 15m, 2h, 30d"
                ));
            }
        };
        number
            .checked_mul(milliseconds)
            .filter(|ms| *ms <= 3_650 * 86_400_000)
            .map(|ms| Span(Duration::from_millis(ms)))
            .ok_or_else(|| "is longer than ten years".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named() {
        let settings = Settings::of([("PAYMENT_DEADLINE", "15 minutes"), ("RATE", "2"), ("PORT", "x")]);
        let error = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        assert!(
            error(settings.duration("PAYMENT_DEADLINE", Duration::ZERO).map(drop))
                .starts_with("PAYMENT_DEADLINE=15 minutes")
        );
        assert!(error(settings.rate("RATE").map(drop)).contains("0 to 1"));
        assert!(error(settings.or("PORT", 1_u16).map(drop)).starts_with("PORT=x"));
    }

    #[test]
    fn spans_of_time_have_units() {
        let settings = Settings::of([("A", "250ms"), ("B", "15m"), ("C", "30d"), ("D", "")]);
        let span = |name| settings.duration(name, Duration::from_secs(7)).unwrap();
        assert_eq!(span("A"), Duration::from_millis(250));
        assert_eq!(span("B"), Duration::from_secs(900));
        assert_eq!(span("C"), Duration::from_secs(30 * 86_400));
        assert_eq!(span("D"), Duration::from_secs(7));
    }
}
