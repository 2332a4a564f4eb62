//! Simulated luck: a function of a seed and an order, so that asking again meets the same fate.

/// What falls to an order: a number in `[0, 1)`, evenly spread over orders, so that what goes wrong at a rate `r` goes
/// wrong where `fate(..) < r`. `salt` says for what, so that an order
/// that is unlucky at the provider is not for that reason unlucky at the courier desk.
///
/// ```
/// use quadrille_decision::fate::fate;
/// assert_eq!(fate(7, "charge", "42"), fate(7, "charge", "42"));
/// assert_ne!(fate(7, "charge", "42"), fate(8, "charge", "42"));
/// ```
pub fn fate(seed: u64, salt: &str, order_id: &str) -> f64 {
    // FNV-1a, which unlike std's hasher is the same on every machine and in every release. The zero byte keeps
    // ("a", "bc") and ("ab", "c") apart.
    let bytes = salt.bytes().chain([0]).chain(order_id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325 ^ mix(seed), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // 53 bits are what an f64 holds exactly.
    (mix(hash) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): FNV alone leaves the high bits of short texts alike.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_never_change() {
        // Held still: simulated runs must be the same on every machine and after every release.
        let shown = [
            fate(0, "charge", "42"),
            fate(0, "charge", "43"),
            fate(0, "desk", "42"),
            fate(1, "charge", "42"),
        ];
        assert_eq!(shown.map(|fate| (fate * 1000.0) as u32), [116, 733, 741, 858]);
    }

    #[test]
    fn fates_are_evenly_spread() {
        for rate in [0.0, 0.1, 0.5, 1.0] {
            let struck = (0..10_000)
                .filter(|n| fate(7, "charge", &n.to_string()) < rate)
                .count();
            assert!(
                (struck as f64 - rate * 10_000.0).abs() < 200.0,
                "{rate} struck {struck} of 10000"
            );
        }
    }
}
