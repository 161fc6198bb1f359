//! Lists that come in pages.

use super::error::Error;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// GitHub's largest page.
const PER_PAGE: usize = 100;

/// 50 000 entries; a runner group holds at most 10 000. A list that goes on after that never ends.
const PAGES_MAX: usize = 500;

/// A list that changes while it is read may lose an entry between two pages; then it is read again.
const PASSES_MAX: usize = 3;

/// One page.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    /// How many there are on all pages.
    total_count: Option<usize>,
    #[serde(alias = "runners", alias = "runner_groups", alias = "repositories")]
    pub(super) items: Vec<T>,
}

/// Some lists come bare, without a count.
impl<T> From<Vec<T>> for Page<T> {
    fn from(items: Vec<T>) -> Self {
        Self { total_count: None, items }
    }
}

/// The query of a page. Built here, since the `next` links of some servers point elsewhere.
pub(super) fn query(number: usize) -> String {
    format!("per_page={PER_PAGE}&page={number}")
}

/// A text as a value in a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A list on its way. Pure: the caller fetches the pages.
///
/// An entry that moved from one page to another between two requests is not lost: when fewer come than GitHub counts,
/// the list is read again, and what any reading showed is kept.
pub(super) struct Listing<T> {
    id: fn(&T) -> u64,
    all: BTreeMap<u64, T>,
    seen: BTreeSet<u64>,
    passes: usize,
    next: Option<usize>,
}

impl<T> Listing<T> {
    /// Nothing read yet. `id` tells entries apart.
    pub(super) fn new(id: fn(&T) -> u64) -> Self {
        Self { id, all: BTreeMap::new(), seen: BTreeSet::new(), passes: 0, next: Some(1) }
    }

    /// The page to be fetched; none when all is read.
    pub(super) fn next_page(&self) -> Option<usize> {
        self.next
    }

    /// Takes in the page that was asked for.
    pub(super) fn take(&mut self, page: Page<T>, what: &str) -> Result<(), Error> {
        let number = self.next.unwrap_or(1);
        let (came, seen_before) = (page.items.len(), self.seen.len());
        for item in page.items {
            let id = (self.id)(&item);
            self.seen.insert(id);
            self.all.insert(id, item);
        }
        let has_all = page.total_count.map_or(came < PER_PAGE, |total| self.seen.len() >= total);
        // No new entry: past the end, or a server that knows no pages.
        let is_last = has_all || self.seen.len() == seen_before;
        if is_last {
            self.passes += 1;
            self.seen.clear();
            let again = !has_all && page.total_count.is_some() && self.passes < PASSES_MAX;
            self.next = again.then_some(1);
        } else if number < PAGES_MAX {
            self.next = Some(number + 1);
        } else {
            let message = format!("the list goes on after {PAGES_MAX} pages");
            return Err(Error::Unavailable { what: what.to_owned(), message });
        }
        Ok(())
    }

    /// All entries, each once.
    pub(super) fn into_entries(self) -> Vec<T> {
        self.all.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches from a server that serves `list` at its n-th request, and counts the requests.
    fn read(serve: impl Fn(usize, usize) -> Page<u64>) -> (Vec<u64>, usize) {
        let mut listing = Listing::new(|id| *id);
        let mut asked = 0;
        while let Some(number) = listing.next_page() {
            asked += 1;
            listing.take(serve(asked, number), "list").unwrap();
        }
        (listing.into_entries(), asked)
    }

    #[test]
    fn an_entry_that_slips_between_two_pages_is_found_on_the_second_reading() {
        // Between the first two requests entry 3 goes, so 101 moves to page 1 and is on neither.
        let (all, asked) = read(|asked, number| {
            let left: Vec<u64> = (1..=150).filter(|id| asked == 1 || *id != 3).collect();
            Page { total_count: Some(150), items: left.into_iter().skip((number - 1) * 100).take(100).collect() }
        });
        assert!(all.contains(&101));
        assert!(asked <= 9, "{asked}");
    }

    #[test]
    fn a_server_without_pages_is_asked_a_few_times_only() {
        let (all, asked) = read(|_, _| Page { total_count: Some(9), items: vec![1, 2] });
        assert_eq!(all, [1, 2]);
        assert_eq!(asked, 6);
    }

    #[test]
    fn a_list_without_a_count_ends_with_a_short_page() {
        let (all, asked) =
            read(|_, number| Page { total_count: None, items: (1..=130).skip((number - 1) * 100).take(100).collect() });
        assert_eq!((all.len(), asked), (130, 2));
    }

    #[test]
    fn a_list_without_an_end_is_given_up() {
        let mut listing = Listing::new(|id: &u64| *id);
        let mut next = 0..;
        let given_up = loop {
            assert!(listing.next_page().is_some());
            let page = Page { total_count: Some(usize::MAX), items: next.by_ref().take(1).collect() };
            if let Err(error) = listing.take(page, "list") {
                break error;
            }
        };
        assert!(given_up.is_transient());
    }

    #[test]
    fn a_name_is_escaped_in_a_query() {
        assert_eq!(escaped("a b&c=é-1"), "a%20b%26c%3D%C3%A9-1");
    }
}
