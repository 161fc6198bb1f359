//! Times, sizes and processors as people write them.

use super::leaf::{Leaf, Wrong, variable_or};
use super::node::Kind;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Longer times are slips (a missing `m` in `ms`), and would only strain the arithmetic.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// `512m`, `4g`: bytes, 1024 to the step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

/// `1.5`: processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cpus(pub(super) f64);

impl Leaf for Duration {
    /// `30s`, `1h30m`.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = || {
            Wrong::new(
                "is not a time",
                "write a whole number and its unit (ms, s, m, h, d), as in `30s`, `5m` or `1h30m`",
            )
        };
        let usual = || Err(wrong());
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong().guess(format!("say the unit: `{text}s`, `{text}m`, `{text}h` or `{text}d`")));
        }
        let mut total = Self::ZERO;
        let mut rest = text;
        if rest.is_empty() {
            return usual();
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            let millis = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return usual(),
            };
            let Ok(number) = number.parse::<u64>() else { return usual() };
            total = total.saturating_add(Self::from_millis(number.saturating_mul(millis)));
            rest = tail;
        }
        if total > LONGEST {
            return Err(Wrong::new("is too long a time", "ten years (3650d) are the most"));
        }
        Ok(total)
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "pattern": r"^([0-9]+(ms|s|m|h|d))+$|\$\{",
            "examples": ["30s", "5m", "1h30m", "2d", "500ms"],
        })
    }
}

/// `10` (seconds), or a time with a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

impl Leaf for Seconds {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return <Duration as Leaf>::parse(&format!("{text}s")).map(Self);
        }
        <Duration as Leaf>::parse(text).map(Self)
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, <Duration as Leaf>::schema()] })
    }
}

/// `30s`, or `off`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rhythm(pub(super) Option<Duration>);

impl Leaf for Rhythm {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "off" {
            return Ok(Self(None));
        }
        match <Duration as Leaf>::parse(text)? {
            // GitHub lets an App ask 5000 times in an hour.
            short if short < Duration::from_secs(1) => {
                Err(Wrong::new("is too often", "`1s` is the least; `off` is never"))
            }
            time => Ok(Self(Some(time))),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [<Duration as Leaf>::schema(), { "const": "off" }] })
    }
}

impl Leaf for Bytes {
    /// `512m`, `1.5g`, `25MiB`.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let usual = || {
            Wrong::new(
                "is not a size",
                "write a number and its unit (b, k, m, g, t; 1024 to the step), as in `512m` or `4g`",
            )
        };
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let power: u32 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" if !number.is_empty() => {
                return Err(usual().guess(format!("say the unit: `{number}m`, `{number}g`, or `{number}b` for bytes")));
            }
            "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            _ => return Err(usual()),
        };
        // Whole numbers all the way: a fraction of a gibibyte is exact in bytes to three digits and more.
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || whole.len() + fraction.len() > 15 || (number.contains('.') && fraction.is_empty()) {
            return Err(usual());
        }
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| usual())?;
        let scale = fraction.bytes().fold(1u128, |scale, _| scale * 10);
        let bytes = digits * 1024u128.pow(power) / scale;
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= i64::MAX.cast_unsigned() => Ok(Self(bytes)),
            _ => Err(Wrong::new("is too large a size", "the engine counts to 8388607t")),
        }
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)? *([bB]|[kKmMgGtT]([iI]?[bB])?)$|\$\{",
            "examples": ["512m", "4g", "25MiB"],
        })
    }
}

impl Leaf for Cpus {
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.parse::<f64>() {
            // Docker counts in billionths and refuses less than a hundredth.
            Ok(cpus) if plain && (0.01..=1024.0).contains(&cpus) => Ok(Self(cpus)),
            Ok(_) if plain => Err(Wrong::new("is no number of processors", "between 0.01 and 1024 are possible")),
            _ => Err(Wrong::new("is no number of processors", "write a number such as `2` or `1.5`")),
        }
    }

    fn schema() -> Json {
        variable_or(&json!({ "type": "number", "minimum": 0.01, "maximum": 1024 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hint<T: Leaf>(text: &str) -> String {
        match T::parse(text) {
            Ok(_) => panic!("`{text}` was taken"),
            Err(wrong) => wrong.hint(true),
        }
    }

    #[test]
    fn times() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(Duration::parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        assert_eq!(hint::<Duration>("5"), "say the unit: `5s`, `5m`, `5h` or `5d`");
        for text in ["", "5 m", "m", "5x", "-5m", "1.5h", "5m3", "99999999999999999999s", "5M", "٣s", "99999d"] {
            hint::<Duration>(text);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0b", 0),
            ("512m", 512 << 20),
            ("4g", 4 << 30),
            ("20gb", 20 << 30),
            ("25MiB", 25 << 20),
            ("25 MiB", 25 << 20),
            ("1.5G", 3 << 29),
            ("1k", 1024),
            ("7t", 7 << 40),
        ] {
            assert_eq!(Bytes::parse(text).unwrap(), Bytes(bytes), "{text}");
        }
        assert_eq!(hint::<Bytes>("512"), "say the unit: `512m`, `512g`, or `512b` for bytes");
        for text in
            ["", "m", "4x", "-1g", "1.g", ".5g", "1..5g", "9999999999t", "99999999999999999999g", "4gg", "4 g b"]
        {
            hint::<Bytes>(text);
        }
    }

    #[test]
    fn processors() {
        assert_eq!(Cpus::parse("1.5").unwrap(), Cpus(1.5));
        assert_eq!(Cpus::parse("2").unwrap(), Cpus(2.0));
        for text in ["", "0", "-1", "500m", "inf", "NaN", "1e3", "99999", ".", "1,5"] {
            hint::<Cpus>(text);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "[-0-9.a-zA-Zé ]{0,30}") {
            let _ = (Duration::parse(&text).is_ok(), Bytes::parse(&text).is_ok(), Cpus::parse(&text).is_ok());
        }
    }
}
