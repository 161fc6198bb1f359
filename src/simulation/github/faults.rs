//! Faults on request: what the API answers instead of what it should, and what happens to deliveries.

use super::lock;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// The answer's status; the real answer where none.
    pub status: Option<u16>,
    /// The answer's body; GitHub's error shape where none.
    pub body: Option<String>,
    /// More headers, such as `retry-after`.
    pub headers: Vec<(String, String)>,
    /// The answer comes only after this.
    pub delay: Duration,
    /// The request takes effect all the same, and only its answer is the fault: what a client sees when the connection
    /// breaks at the wrong moment.
    pub takes_effect: bool,
    /// The connection is closed without an answer.
    pub cut: bool,
}

impl Fault {
    /// This status, with GitHub's error shape.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The right answer, late.
    pub fn late(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// The request takes effect; the client gets a 502.
    pub fn answer_lost() -> Self {
        Self { status: Some(502), takes_effect: true, ..Self::default() }
    }

    /// No answer: the connection is closed.
    pub fn connection_cut() -> Self {
        Self { cut: true, ..Self::default() }
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }
}

/// What happens to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// It never arrives; GitHub's log shows it as failed.
    Lost,
    /// GitHub never sends it: it is not in the log either.
    NeverSent,
    /// It comes late.
    Late(Duration),
    /// It comes so many times more, under the same GUID.
    Repeated(u32),
}

/// The waiting faults of the API.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<VecDeque<(String, Fault, usize)>>,
}

impl Faults {
    /// The next `times` requests that match get this fault. The pattern is a method and the beginning of a path or of its
    /// template, as in `POST /orgs/{org}/actions/runners/generate-jitconfig`, `GET /orgs/acme` or `* /`.
    pub fn next(&self, pattern: &str, fault: Fault, times: usize) {
        if times == 0 {
            return;
        }
        lock(&self.waiting).push_back((pattern.to_owned(), fault, times));
    }

    /// Forgets those that have not happened.
    pub fn clear(&self) {
        lock(&self.waiting).clear();
    }

    pub(super) fn take(&self, method: &str, template: &str, path: &str) -> Option<Fault> {
        let mut waiting = lock(&self.waiting);
        let index = waiting.iter().position(|(pattern, _, _)| matches(pattern, method, template, path))?;
        let (_, fault, times) = waiting.get_mut(index)?;
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            waiting.remove(index);
        }
        Some(fault)
    }
}

/// Whether `METHOD /path…` means this request.
pub(super) fn matches(pattern: &str, method: &str, template: &str, path: &str) -> bool {
    let (wanted, beginning) = pattern.split_once(' ').unwrap_or(("*", pattern));
    (wanted == "*" || wanted.eq_ignore_ascii_case(method))
        && (template.starts_with(beginning) || path.starts_with(beginning))
}

/// Decides what happens to a delivery of this action.
pub type Chooser = Box<dyn FnMut(Option<&str>) -> Option<WebhookFault> + Send>;

/// The waiting faults of deliveries.
#[derive(Default)]
pub(super) struct WebhookFaults {
    waiting: Mutex<VecDeque<(Option<String>, WebhookFault, usize)>>,
    chooser: Mutex<Option<Chooser>>,
}

impl WebhookFaults {
    pub(super) fn next(&self, action: Option<&str>, fault: WebhookFault, times: usize) {
        if times == 0 {
            return;
        }
        lock(&self.waiting).push_back((action.map(str::to_owned), fault, times));
    }

    /// Asks this from now on, where no fault waits.
    pub(super) fn choose_by(&self, chooser: Option<Chooser>) {
        *lock(&self.chooser) = chooser;
    }

    pub(super) fn take(&self, action: Option<&str>) -> Option<WebhookFault> {
        let mut waiting = lock(&self.waiting);
        let index = waiting.iter().position(|(wanted, _, _)| wanted.is_none() || wanted.as_deref() == action);
        let Some(index) = index else {
            return lock(&self.chooser).as_mut().and_then(|chooser| chooser(action));
        };
        let (_, fault, times) = waiting.get_mut(index)?;
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            waiting.remove(index);
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_its_requests_only_and_so_often_only() {
        let faults = Faults::default();
        faults.next("POST /orgs/{org}/actions/runners/generate", Fault::status(502), 2);
        let (template, path) =
            ("/orgs/{org}/actions/runners/generate-jitconfig", "/orgs/acme/actions/runners/generate-jitconfig");
        assert!(faults.take("GET", template, path).is_none());
        assert!(faults.take("POST", template, path).is_some());
        assert!(faults.take("POST", template, path).is_some());
        assert!(faults.take("POST", template, path).is_none());
    }
}
