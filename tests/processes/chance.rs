//! Random choices that can be made again: `HEADWATER_SEED` repeats a run's.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The seed of this run, said aloud.
    pub(crate) fn of_run(what: &str) -> Self {
        let seed = match std::env::var("HEADWATER_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => headwater::environment::Environment::system().random_below(u64::MAX),
        };
        eprintln!("{what}: HEADWATER_SEED={seed}");
        Self(seed)
    }

    /// Choices of a process that was told so.
    pub(crate) fn told(seed: u64) -> Self {
        Self(seed)
    }

    /// Choices of one of many that run side by side.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}
