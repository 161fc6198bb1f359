//! Questions to a person, if there is one, and what they are told on the way.

use crate::cli::init::ask::until;
use crate::cli::{WrongUse, complain};
use anyhow::Context;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the conversation is held.
pub(super) struct Talk {
    attended: bool,
    /// GitHub is giving what it gives only once: being interrupted now would lose it.
    critical: AtomicBool,
    /// Somebody wanted to interrupt just then.
    interrupted: AtomicBool,
}

impl Talk {
    /// With whoever sits at the terminal; with nobody, where that is said or there is none.
    pub(super) fn new(non_interactive: bool) -> Self {
        let attended = !non_interactive && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self { attended, critical: AtomicBool::new(false), interrupted: AtomicBool::new(false) }
    }

    /// From here on until [`Talk::end_critical`] a first Ctrl-C waits.
    pub(super) fn begin_critical(&self) {
        self.critical.store(true, Ordering::SeqCst);
    }

    /// Whether somebody wanted to interrupt meanwhile.
    pub(super) fn end_critical(&self) -> bool {
        self.critical.store(false, Ordering::SeqCst);
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Whether an interruption has to wait; it is remembered then. The second one is not.
    pub(super) fn puts_off(&self) -> bool {
        self.critical.load(Ordering::SeqCst) && !self.interrupted.swap(true, Ordering::SeqCst)
    }

    /// Whether somebody can be asked.
    pub(super) fn is_attended(&self) -> bool {
        self.attended
    }

    /// A line on standard error.
    #[expect(clippy::unused_self, reason = "what is told belongs to the conversation, as what is asked does")]
    pub(super) fn tell(&self, text: &str) {
        complain(text);
    }

    /// Asks until the answer is one.
    ///
    /// # Errors
    /// Nobody can be asked: [`WrongUse`] with `instead`, which names the flag that says it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: &str,
        default: &str,
        instead: &str,
        take: impl Fn(&str) -> Result<T, String> + Send + 'static,
    ) -> anyhow::Result<T> {
        if !self.attended {
            return Err(WrongUse(format!("{instead} (nobody can be asked here)")).into());
        }
        let (question, default) = (question.to_owned(), default.to_owned());
        // On a thread of its own, so that Ctrl-C is heard meanwhile.
        let asked = tokio::task::spawn_blocking(move || {
            until(&question, &default, &mut std::io::stdin().lock(), &mut std::io::stderr(), take)
        });
        asked.await.context("asking")?.map_err(Into::into)
    }

    /// Asks for a yes; an empty answer is one. `instead` as in [`Talk::ask`].
    ///
    /// # Errors
    /// Nobody can be asked.
    pub(super) async fn yes(&self, question: &str, instead: &str) -> anyhow::Result<bool> {
        self.ask(question, "yes", instead, |text| match text.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("yes or no".to_owned()),
        })
        .await
    }
}
