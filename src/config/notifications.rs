//! Who is told of what, and how: the checked values of `webhooks:`.

use super::notify_shape::{self as shape, EventName};
use super::reading::{Placed, Reading, Spot};
use super::section::{Field, Key, Slot};
use crate::notify::event::Kind;
use crate::notify::template::{Card, CardField, Cards, Template};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::time::Duration;

/// `webhooks:`, also known as `notifications:`.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// Whether anything is sent.
    pub enabled: bool,
    /// Further tries after the first.
    pub retries: u32,
    /// The wait before the first further try; doubled for each that follows.
    pub retry_delay: Duration,
    /// How much at most.
    pub rate: Rate,
    /// Who is told, those that are switched off among them.
    pub recipients: Vec<Recipient>,
}

/// How much a recipient is told at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Messages in a minute.
    pub per_minute: u32,
    /// Of one kind so many in a minute; what follows comes as one digest.
    pub digest_after: u32,
}

/// Somebody who is told.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// `slack`, `discord`, `teams`, or the name of a generic one.
    pub name: String,
    /// Whether anything is sent there.
    pub enabled: bool,
    /// The address. Whoever knows it can write there: a secret. Always there where `enabled`.
    pub url: Option<SecretString>,
    /// How long one try may take.
    pub timeout: Duration,
    /// Of what it is told.
    pub events: BTreeSet<Kind>,
    /// The user's own words.
    pub cards: Cards,
    /// The form of a message.
    pub form: Form,
}

/// The form of a message.
#[derive(Debug, Clone)]
pub enum Form {
    /// Slack's incoming webhooks.
    Slack {
        /// Shown as the sender.
        username: String,
        /// Another channel than the webhook's own; only old webhooks obey.
        channel: Option<String>,
    },
    /// Discord's webhooks.
    Discord {
        /// Shown as the sender.
        username: String,
        /// The sender's picture.
        avatar_url: Option<String>,
    },
    /// Microsoft Teams.
    Teams {
        /// The old connectors' form instead of an Adaptive Card.
        message_card: bool,
    },
    /// JSON for a program.
    Generic {
        /// Signs the body.
        secret: Option<SecretString>,
        /// Sent along.
        headers: Vec<(String, SecretString)>,
    },
}

impl Default for Notifications {
    /// Nobody is told.
    fn default() -> Self {
        Self {
            enabled: true,
            retries: 3,
            retry_delay: Duration::from_secs(5),
            rate: Rate { per_minute: 20, digest_after: 5 },
            recipients: Vec::new(),
        }
    }
}

/// The section as it was read -> what holds.
pub(super) fn notifications(file: &shape::Webhooks, reading: &mut Reading<'_>) -> Notifications {
    let general = file.timeout.good().map_or(Duration::from_secs(10), |timeout| timeout.0);
    not_zero(&file.timeout, reading);
    let mut recipients = Vec::new();
    let (slack, discord, teams) = (&file.slack, &file.discord, &file.teams);
    if slack.given {
        let form = Form::Slack {
            username: slack.username.good().map_or_else(String::new, |name| name.0.clone()),
            channel: slack.channel.good().map(|channel| channel.0.clone()).filter(|channel| !channel.is_empty()),
        };
        let url = Address { key: "webhook_url", url: &slack.webhook_url, is_ours: false };
        recipients.push(recipient("slack", &slack.at, &url, &slack.common, form, general, reading));
    }
    if discord.given {
        let form = Form::Discord {
            username: discord.username.good().map_or_else(String::new, |name| name.0.clone()),
            avatar_url: discord.avatar_url.good().and_then(|url| url.0.clone()).map(|url| url.0),
        };
        if let Field::Good(name) = &discord.username
            && ["discord", "clyde"].iter().any(|word| name.value.0.to_lowercase().contains(word))
        {
            reading.warning(&name.spot, "Discord refuses names with `discord` or `clyde` in them", "");
        }
        let url = Address { key: "webhook_url", url: &discord.webhook_url, is_ours: false };
        recipients.push(recipient("discord", &discord.at, &url, &discord.common, form, general, reading));
    }
    if teams.given {
        let form = Form::Teams { message_card: teams.format.good() == Some(&shape::TeamsFormat::MessageCard) };
        let url = Address { key: "webhook_url", url: &teams.webhook_url, is_ours: false };
        recipients.push(recipient("teams", &teams.at, &url, &teams.common, form, general, reading));
    }
    for item in file.generic.good().map(|list| list.0.as_slice()).unwrap_or_default() {
        let generic = item.value.clone().over(shape::Generic::built_in(&Key::NONE));
        let name = generic.name.good().map_or_else(String::new, |name| name.0.clone());
        let is_taken = matches!(name.as_str(), "slack" | "discord" | "teams")
            || recipients.iter().any(|known: &Recipient| known.name == name);
        if is_taken {
            let spot = generic
                .name
                .placed()
                .map(|placed| &placed.spot)
                .filter(|spot| !spot.path.is_empty())
                .unwrap_or(&item.spot);
            reading.problem(spot, "is the name of another recipient already", "give it a name of its own");
        }
        let form = Form::Generic {
            secret: generic.secret.good().and_then(|secret| secret.0.clone()),
            headers: headers(&generic.headers, reading),
        };
        let url = Address { key: "url", url: &generic.url, is_ours: true };
        recipients.push(recipient(&name, &item.spot, &url, &generic.common, form, general, reading));
    }
    Notifications {
        enabled: file.enabled.good().copied().unwrap_or(true),
        retries: file.retry_count.good().and_then(|count| count.get()).unwrap_or(3),
        retry_delay: file.retry_delay.good().map_or(Duration::from_secs(5), |delay| delay.0),
        rate: Rate {
            per_minute: file.rate.per_minute.good().and_then(|count| count.get()).unwrap_or(20),
            digest_after: file.rate.digest_after.good().and_then(|count| count.get()).unwrap_or(5),
        },
        recipients,
    }
}

/// The key of an address, and what it holds.
struct Address<'a> {
    key: &'static str,
    url: &'a Field<shape::HookUrl>,
    /// A program of the user's own, perhaps inside a network of the user's own.
    is_ours: bool,
}

fn recipient(
    name: &str,
    at: &Spot,
    address: &Address<'_>,
    common: &shape::Common,
    form: Form,
    general: Duration,
    reading: &mut Reading<'_>,
) -> Recipient {
    let enabled = common.enabled.good().copied().unwrap_or(true);
    let url = address.url.good().and_then(|url| url.0.clone());
    match (&url, address.url) {
        (None, Field::Absent) if enabled => {
            let hint = format!("write `{}: ${{NAME}}`, or `enabled: false`", address.key);
            reading.problem(&at.missing(address.key), "is missing", hint);
        }
        (None, Field::Good(placed)) if enabled => {
            reading.problem(&placed.spot, "is empty", "give the address, or write `enabled: false`");
        }
        (Some(url), Field::Good(placed)) => check_address(url, &placed.spot, address.is_ours, reading),
        _ => {}
    }
    not_zero(&common.timeout, reading);
    Recipient {
        name: name.to_owned(),
        enabled,
        url,
        timeout: common.timeout.good().map_or(general, |timeout| timeout.0),
        events: events(&common.events, enabled, reading),
        cards: cards(&common.templates, reading),
        form,
    }
}

fn not_zero(time: &Field<super::units::Seconds>, reading: &mut Reading<'_>) {
    if let Field::Good(placed) = time
        && placed.value.0.is_zero()
    {
        reading.problem(&placed.spot, "is no time to wait for an answer", "10 is usual");
    }
}

/// The address is a secret: no message repeats any of it.
fn check_address(url: &SecretString, spot: &Spot, is_ours: bool, reading: &mut Reading<'_>) {
    let text = url.expose_secret();
    let parsed = text.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(|uri| uri.host()).filter(|host| !host.is_empty());
    let (Some(uri), Some(host)) = (&parsed, host) else {
        reading.problem(spot, "is not the address of a webhook", "write `https://host/path`");
        return;
    };
    let is_loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback => {}
        Some("http") if is_ours => {
            reading.warning(spot, "goes there without TLS, for everybody on the way to read", "use `https://`");
        }
        Some("http") => reading.problem(spot, "would go there without TLS", "use `https://`"),
        _ => reading.problem(spot, "is not the address of a webhook", "write `https://host/path`"),
    }
}

fn events(
    list: &Field<super::collection::List<EventName>>,
    enabled: bool,
    reading: &mut Reading<'_>,
) -> BTreeSet<Kind> {
    let Field::Good(list) = list else { return Kind::ALL.iter().copied().collect() };
    if list.value.0.is_empty() && enabled {
        reading.warning(&list.spot, "is empty: nothing will be sent there", "`\"*\"` stands for all events");
    }
    let mut kinds = BTreeSet::new();
    for item in &list.value.0 {
        match item.value {
            EventName::All => kinds.extend(Kind::ALL),
            EventName::One(kind) => {
                kinds.insert(kind);
            }
        }
    }
    kinds
}

fn cards(table: &Field<super::collection::Table<shape::TemplateCard>>, reading: &mut Reading<'_>) -> Cards {
    let mut cards = Cards::default();
    let Field::Good(table) = table else { return cards };
    for (name, placed) in &table.value.0 {
        let kind = match (name.as_str(), Kind::named(name)) {
            ("default", _) => None,
            (_, Some(kind)) => Some(kind),
            (_, None) => {
                let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).chain(["default"]).collect();
                let hint = match super::leaf::nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("events are {}", super::leaf::listed(&names).replace(" or ", " and ")),
                };
                reading.problem(&placed.spot, "is a template of no event", hint);
                continue;
            }
        };
        let card = card(&placed.value, kind, reading);
        match kind {
            Some(kind) => {
                cards.own.insert(kind, card);
            }
            None => cards.default = Some(card),
        }
    }
    cards
}

fn card(given: &shape::TemplateCard, kind: Option<Kind>, reading: &mut Reading<'_>) -> Card {
    let mut take = |field: &Field<shape::TemplateText>| {
        let placed = field.placed()?;
        check_placeholders(placed, kind, reading);
        Some(placed.value.template.clone())
    };
    let title = take(&given.title);
    let mut text = take(&given.text);
    let mut fields = Vec::new();
    for field in given.fields.good().map(|list| list.0.as_slice()).unwrap_or_default() {
        let short = field.value.short.good().or(field.value.inline.good()).copied().unwrap_or(true);
        if let (Some(name), Some(value)) = (take(&field.value.name), take(&field.value.value)) {
            fields.push(CardField { name, value, short });
        }
    }
    for section in given.sections.good().map(|list| list.0.as_slice()).unwrap_or_default() {
        if let Some(title) = take(&section.value.activity_title) {
            text = Some(text.map_or(title.clone(), |text| text.followed_by(&title)));
        }
        for fact in section.value.facts.good().map(|list| list.0.as_slice()).unwrap_or_default() {
            if let (Some(name), Some(value)) = (take(&fact.value.name), take(&fact.value.value)) {
                fields.push(CardField { name, value, short: false });
            }
        }
    }
    let has_fields = given.fields.good().is_some() || given.sections.good().is_some();
    Card {
        title,
        text,
        color: given.color.good().map(|color| color.0),
        use_attachment: given.use_attachment.good().copied().unwrap_or(true),
        fields: has_fields.then_some(fields),
    }
}

/// Each placeholder has to be known of the event; of the `default` template, of some event.
fn check_placeholders(placed: &Placed<shape::TemplateText>, kind: Option<Kind>, reading: &mut Reading<'_>) {
    let is_known = |name: &str| match kind {
        Some(kind) => kind.field(name).is_some(),
        None => Kind::ALL.iter().any(|kind| kind.field(name).is_some()),
    };
    let template: &Template = &placed.value.template;
    for name in template.names().filter(|name| !is_known(name)) {
        let known = kind.map_or_else(|| crate::notify::event::COMMON.to_vec(), Kind::placeholders);
        let hint = match super::leaf::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => {
                let all: Vec<_> = known.iter().map(|name| format!("{{{name}}}")).collect();
                format!("known are {}", all.join(" "))
            }
        };
        let of = kind.map_or_else(|| "any event".to_owned(), |kind| format!("`{kind}`"));
        let shown = if placed.value.has_variables { "…".to_owned() } else { super::reading::shortened(name) };
        reading.problem(&placed.spot, format!("`{{{shown}}}` is not known of {of}"), hint);
    }
}

fn headers(
    table: &Field<super::collection::Table<shape::HeaderText>>,
    reading: &mut Reading<'_>,
) -> Vec<(String, SecretString)> {
    let mut headers = Vec::new();
    let Field::Good(table) = table else { return headers };
    for (name, placed) in &table.value.0 {
        let lower = name.to_ascii_lowercase();
        let reserved = ["host", "content-length", "content-type", "transfer-encoding", "connection"];
        if lower.parse::<http::HeaderName>().is_err() {
            reading.problem(&placed.spot, "is not the name of a header", "");
        } else if reserved.contains(&lower.as_str()) || lower.starts_with("x-runnerfleet-") {
            reading.problem(&placed.spot, "is a header that the program sets itself", "leave it out");
        } else if http::HeaderValue::from_str(placed.value.0.expose_secret()).is_err() {
            reading.problem(&placed.spot, "cannot be sent as a header: it has line breaks or control characters", "");
        } else {
            headers.push((name.clone(), placed.value.0.clone()));
        }
    }
    headers
}
