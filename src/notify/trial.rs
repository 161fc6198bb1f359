//! One message to one recipient, for `notify test`.

use super::event::{Event, Kind};
use super::form::{self, Payload};
use super::send::Sender;
use super::worker::deliver;
use super::{News, notice_of};
use crate::clock;
use crate::config::{Config, Recipient};

/// A message that is to be tried out.
pub struct Trial<'a> {
    config: &'a Config,
    recipient: &'a Recipient,
    notice: super::Notice,
}

/// An example of this kind of event for this recipient, told as a real one is.
pub fn try_out<'a>(config: &'a Config, recipient: &'a Recipient, kind: Kind) -> Trial<'a> {
    let news = News::One(Event::sample(kind));
    let notice = notice_of(&config.instance, &config.host, clock::now(), news);
    Trial { config, recipient, notice }
}

impl Trial<'_> {
    /// What would be sent.
    pub fn payload(&self) -> Payload {
        form::payload(self.recipient, &self.notice)
    }

    /// Sends it, with the further tries that a real one has.
    ///
    /// # Errors
    /// Why it did not arrive, without anything of the address.
    pub async fn send(&self) -> Result<(), String> {
        let told = &self.config.notifications;
        let sender = Sender::new(self.recipient)?;
        deliver(&sender, self.recipient, &self.notice, told.retries, told.retry_delay).await
    }
}
