//! Whatever is set: it is what it says, or an error that names the setting. Seeds of failures are kept in
//! `decoders.regressions`.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use quadrille_events::Flow;
use quadrille_runtime::Settings;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Ten years, the longest span.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_a_setting_or_named(text in prop_oneof![
        any::<String>(), "[0-9]{0,25}(ms|s|m|h|d|w|)", "-?[0-9]{0,3}(\\.[0-9]{0,20})?(e-?[0-9]{1,4})?", Just("NaN".to_owned()), Just("inf".to_owned()),
    ]) {
        let settings = Settings::of([("NAME", &text)]);
        // A number may be written out: 1e308.
        let named = |error: anyhow::Error| {
            let words = error.to_string();
            assert!(words.starts_with("NAME=") && words.len() <= text.len() + 400, "{words}");
        };
        match settings.duration("NAME", Duration::ZERO) {
            Ok(span) => prop_assert!(span <= LONGEST),
            Err(error) => named(error),
        }
        match settings.rate("NAME") {
            Ok(rate) => prop_assert!((0.0..=1.0).contains(&rate)),
            Err(error) => named(error),
        }
        if let Err(error) = settings.or("NAME", 7_u16) { named(error) }
        if let Err(error) = settings.or("NAME", Flow::PayFirst) { named(error) }
    }

    #[test]
    fn a_span_is_what_its_unit_says(number in 0..10_000_u64, unit in 0..5_usize) {
        let (name, ms) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)][unit];
        let read = Settings::of([("NAME", format!("{number}{name}"))]).duration("NAME", Duration::ZERO);
        let meant = Duration::from_millis(number * ms);
        match read {
            Ok(read) => prop_assert_eq!(read, meant),
            Err(_) => prop_assert!(meant > LONGEST),
        }
    }
}
