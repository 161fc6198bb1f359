//! Words that several checks use.

/// `1 delivery`, `2 deliveries`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// `512 MiB`, `3.5 GiB`.
pub(super) fn bytes(number: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if number < GIB {
        format!("{} MiB", number / MIB)
    } else {
        let tenths = number / (GIB / 10);
        format!("{}.{} GiB", tenths / 10, tenths % 10)
    }
}

/// The first few of many, and how many more there are.
pub(super) fn some<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// The numbers of a version, for comparing: `2.336.0`. None where it is no version.
pub(super) fn version(text: &str) -> Option<Vec<u64>> {
    let numbers = text.trim_start_matches('v');
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(numbers.len());
    numbers[..end].split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        assert_eq!((count(1, "job", "jobs"), count(0, "job", "jobs")), ("1 job".to_owned(), "0 jobs".to_owned()));
        assert_eq!((bytes(512 << 20), bytes(7 << 29)), ("512 MiB".to_owned(), "3.5 GiB".to_owned()));
        assert_eq!(some(&["a", "b"]), "`a`, `b`");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f"]), "`a`, `b`, `c`, `d`, `e` and 1 more");
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(version("2.99.0") < version("2.336.0"));
        assert_eq!(version("v7.0.15-ubuntu"), Some(vec![7, 0, 15]));
        assert_eq!(version("latest"), None);
        assert_eq!(version(""), None);
    }
}
