//! What is being done, while it is done: a live line for each on a terminal; elsewhere a line for each step; nothing when
//! quiet. On standard error, so that standard output stays for the answer.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often a live line is drawn again: its clock shows seconds.
const REDRAW: Duration = Duration::from_millis(200);

/// How progress is shown.
pub(super) enum Form {
    /// A line for each that changes in place, with a clock.
    Live(MultiProgress),
    /// `name: what it is at`, once for each step.
    Lines(Box<dyn Write + Send>),
    /// Not at all.
    Nothing,
}

/// Progress of several things, each known by its name.
pub(super) struct Progress {
    form: Form,
    shown: BTreeMap<String, Shown>,
}

struct Shown {
    text: String,
    bar: Option<ProgressBar>,
    over: bool,
}

impl Progress {
    /// In this form.
    pub(super) fn new(form: Form) -> Self {
        Self { form, shown: BTreeMap::new() }
    }

    /// As standard error asks for.
    pub(super) fn here(quiet: bool) -> Self {
        Self::new(if quiet {
            Form::Nothing
        } else if std::io::stderr().is_terminal() {
            Form::Live(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Form::Lines(Box::new(std::io::stderr()))
        })
    }

    /// `name` is at `text` now. Told again, it is shown once.
    pub(super) fn tell(&mut self, name: &str, text: &str) {
        self.change(name, text, false);
    }

    /// `name` is through, with this result.
    pub(super) fn end(&mut self, name: &str, text: &str) {
        self.change(name, text, true);
    }

    /// Takes live lines away: the summary says the same.
    pub(super) fn clear(&self) {
        if let Form::Live(lines) = &self.form {
            for bar in self.shown.values().filter_map(|shown| shown.bar.as_ref()) {
                bar.finish_and_clear();
            }
            let _ = lines.clear();
        }
    }

    fn change(&mut self, name: &str, text: &str, over: bool) {
        if self.shown.get(name).is_some_and(|shown| shown.over || (shown.text == text && !over)) {
            return;
        }
        let is_new_text = self.shown.get(name).is_none_or(|shown| shown.text != text);
        let mut bar = self.shown.remove(name).and_then(|shown| shown.bar);
        match &mut self.form {
            Form::Live(lines) => {
                let bar = bar.get_or_insert_with(|| begin(lines, name));
                bar.set_message(text.to_owned());
                if over {
                    bar.finish();
                }
            }
            Form::Lines(to) if is_new_text => {
                // Standard error is closed: nobody reads it.
                let _ = writeln!(to, "{name}: {text}");
            }
            Form::Lines(_) | Form::Nothing => {}
        }
        self.shown.insert(name.to_owned(), Shown { text: text.to_owned(), bar, over });
    }
}

fn begin(lines: &MultiProgress, name: &str) -> ProgressBar {
    let bar = lines.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg} {elapsed}") {
        bar.set_style(style.tick_chars("-\\|/*"));
    }
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(REDRAW);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn story(progress: &mut Progress) {
        progress.tell("web-1", "making the container");
        progress.tell("web-2", "waiting for its job to end");
        progress.tell("web-1", "making the container");
        progress.tell("web-1", "waiting for GitHub to list it");
        progress.end("web-1", "started");
        progress.tell("web-1", "too late");
        progress.end("web-1", "started");
        progress.clear();
    }

    #[test]
    fn a_line_for_each_step_and_none_twice() {
        let page = Page::default();
        story(&mut Progress::new(Form::Lines(Box::new(page.clone()))));
        assert_eq!(
            String::from_utf8(page.0.lock().unwrap().clone()).unwrap(),
            "web-1: making the container\nweb-2: waiting for its job to end\nweb-1: waiting for GitHub to list it\n\
             web-1: started\n"
        );
    }

    #[test]
    fn live_and_quiet_know_the_same() {
        story(&mut Progress::new(Form::Nothing));
        story(&mut Progress::new(Form::Live(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()))));
    }
}
