//! Simulated failures: a function of a seed and an order id, so that a repeated call has the same outcome.

/// A number in `[0, 1)`, uniformly distributed over orders: a failure of rate `r` occurs where `fate(..) < r`. `salt` names
/// the kind of failure, so that failures of two kinds are independent: an order that the payment provider declines is not
/// more likely to be refused by the courier desk.
///
/// ```
/// use quadrille_decision::fate::fate;
/// assert_eq!(fate(7, "charge", "42"), fate(7, "charge", "42"));
/// assert_ne!(fate(7, "charge", "42"), fate(8, "charge", "42"));
/// ```
pub fn fate(seed: u64, salt: &str, order_id: &str) -> f64 {
    // FNV-1a: unlike the standard library's hasher it is the same on every machine and in every release. The zero byte
    // separates ("a", "bc") from ("ab", "c").
    let bytes = salt.bytes().chain([0]).chain(order_id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325 ^ mix(seed), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // An f64 holds 53 bits exactly.
    (mix(hash) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): with FNV alone, short texts have similar high bits.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_the_same_on_every_machine_and_in_every_release() {
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
