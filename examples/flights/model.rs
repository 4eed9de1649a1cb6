//! A model of late arrivals, as plain weights: what it sees of a flight that departs, and how likely it finds it that
//! the flight arrives late. How the weights come about is told in `train.rs`; the service of `examples/serve` uses
//! this file, too.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A flight is late if it arrives more than so many minutes after its time.
pub(crate) const LATE_MINUTES: i32 = 15;
/// How many weights there are. Features find theirs by hash.
pub(crate) const WIDTH: usize = 1 << 10;

const HEADING: &str = "late arrivals, weights 1";
/// Upper bounds of the departure delays that count as equal, in minutes.
const DELAYS: [i32; 17] = [
    -10, -6, -4, -2, 0, 2, 4, 7, 10, 13, 16, 20, 25, 30, 40, 60, 120,
];

/// What is known of a flight when it departs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight<'a> {
    /// The day it was to leave, counted from 1970-01-01.
    pub(crate) day: i32,
    /// Hours and minutes of the time it was to leave, as in 1545.
    pub(crate) scheduled: i32,
    /// Minutes after that time that it left; unknown if it did not.
    pub(crate) delay: Option<i32>,
    pub(crate) carrier: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) miles: i32,
}

impl Flight<'_> {
    /// The weights that count for this flight.
    pub(crate) fn features(&self) -> [usize; 9] {
        let delay = match self.delay {
            Some(delay) => DELAYS.partition_point(|bound| *bound < delay).to_string(),
            None => "unknown".to_owned(),
        };
        let hour = self.scheduled.div_euclid(100);
        let weekday = self.day.rem_euclid(7);
        let length = self.miles.div_euclid(250);
        [
            feature("bias", &[]),
            feature("delay", &[&delay]),
            feature("hour", &[&hour.to_string()]),
            feature("weekday", &[&weekday.to_string()]),
            feature("carrier", &[self.carrier]),
            feature("route", &[self.origin, self.destination]),
            feature("miles", &[&length.to_string()]),
            feature("carrier, delay", &[self.carrier, &delay]),
            feature("hour, delay", &[&(hour / 4).to_string(), &delay]),
        ]
    }
}

/// The place of a feature: FNV-1a of its name and values.
fn feature(name: &str, values: &[&str]) -> usize {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let parts = std::iter::once(&name).chain(values);
    for byte in parts.flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    ((hash >> 32) as usize) % WIDTH
}

/// Weights, and nothing else: two models with the same fingerprint answer the same, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    weights: Vec<f64>,
}

impl Model {
    pub(crate) fn new(weights: Vec<f64>) -> Self {
        assert_eq!(weights.len(), WIDTH);
        Self { weights }
    }

    /// How likely it is that the flight arrives late.
    pub(crate) fn late(&self, flight: &Flight<'_>) -> f64 {
        let sum: f64 = flight.features().iter().map(|at| self.weights[*at]).sum();
        1.0 / (1.0 + (-sum).exp())
    }

    /// BLAKE3 over the bits of the weights.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for weight in &self.weights {
            hasher.update(&weight.to_bits().to_le_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Writes the weights, exactly, as text. The file is there as a whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut text = format!("{HEADING}\n{}\n", self.fingerprint());
        for weight in &self.weights {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:016x}", weight.to_bits());
        }
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, path)
    }

    /// Reads what [`Model::save`] wrote.
    pub(crate) fn load(path: &Path) -> std::io::Result<Self> {
        let text = fs::read_to_string(path)?;
        Self::parse(&text).ok_or_else(|| {
            let message = format!("{} holds no model, or a damaged one", path.display());
            std::io::Error::new(std::io::ErrorKind::InvalidData, message)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (heading, fingerprint) = (lines.next()?, lines.next()?);
        let weights: Option<Vec<f64>> = lines
            .map(|line| u64::from_str_radix(line, 16).ok().map(f64::from_bits))
            .collect();
        let weights = weights.filter(|weights| weights.len() == WIDTH)?;
        let model = Self { weights };
        (heading == HEADING && model.fingerprint() == fingerprint).then_some(model)
    }
}
