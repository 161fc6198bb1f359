//! Ids, GUIDs, secrets and choices, all from one seed: a run can be repeated.

/// A small generator (SplitMix64). Good enough to be unpredictable to a reader of logs; never used for real secrets.
#[derive(Debug, Clone)]
pub(super) struct Seed(u64);

impl Seed {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`; 0 where the bound is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    /// `len` characters out of `alphabet`.
    pub(super) fn text(&mut self, len: usize, alphabet: &str) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..len).map(|_| letters[self.below(letters.len())]).collect()
    }

    /// As in `X-GitHub-Delivery`: a GUID of version 1 in shape.
    pub(super) fn guid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-11f1-{:04x}-{:012x}",
            a >> 32,
            a & 0xffff,
            0x8000 | ((a >> 16) & 0x3fff),
            b & 0xffff_ffff_ffff
        )
    }

    pub(super) fn secret(&mut self, len: usize) -> String {
        self.text(len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    #[test]
    fn the_same_seed_gives_the_same_guids_and_each_is_new() {
        let (mut one, mut other) = (Seed::new(7), Seed::new(7));
        let first = one.guid();
        assert_eq!(first, other.guid());
        assert_ne!(first, one.guid());
        assert_eq!(first.len(), 36);
        assert_eq!(one.below(0), 0);
    }
}
