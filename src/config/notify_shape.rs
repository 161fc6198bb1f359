//! `webhooks:` as the file has it.

use super::collection::{List, Table};
use super::leaf::{AnyText, Leaf, Text, Whole, Wrong, choice, listed, nearest, text_schema};
use super::node::{Kind as Yaml, Node, Value};
use super::reading::{Reading, Spot};
use super::secret::{Secret, read_secret};
use super::section::{Decode, Field, section};
use super::units::Seconds;
use crate::notify::event::Kind;
use crate::notify::template::{Template, TemplateFault};
use secrecy::SecretString;
use serde_json::{Value as Json, json};

choice! {
    /// The form of a message to Teams.
    TeamsFormat {
        /// What Teams' Workflows take today.
        AdaptiveCard = "adaptive_card",
        /// What its retired connectors took.
        MessageCard = "message_card",
    }
}

section! {
    /// Outgoing notifications: who is told of what. GitHub's own deliveries are set up under `intake`.
    Webhooks {
        /// Whether anything is sent.
        enabled: Field<bool> = "true",
        /// How long one try may take, in seconds, or with a unit; for recipients that have no `timeout` of their own.
        timeout: Field<Seconds> = "10",
        /// Further tries after the first. What is refused for good (a wrong address) is not tried again.
        retry_count: Field<Whole<0, 20>> = "3",
        /// The wait before the first further try, in seconds, or with a unit; doubled for each that follows.
        retry_delay: Field<Seconds> = "5",
        /// How much a recipient is told at most.
        rate: Rate,
        /// A Slack channel.
        slack: Slack,
        /// A Discord channel.
        discord: Discord,
        /// A channel of Microsoft Teams.
        teams: Teams,
        /// Programs of your own, which get JSON.
        generic: Field<List<Generic>>,
    }
    later { secret, secrets, secret_file, secrets_file, path, max_body, dedupe_ttl }
}

section! {
    /// How much a recipient is told at most.
    Rate {
        /// Messages in a minute.
        per_minute: Field<Whole<1, 1_000>> = "20",
        /// Of one kind of event so many in a minute; what follows comes as one digest at the end of the minute.
        digest_after: Field<Whole<1, 1_000>> = "5",
    }
}

section! {
    /// What all recipients have.
    Common {
        /// Whether anything is sent there.
        enabled: Field<bool> = "true",
        /// How long one try may take, in seconds, or with a unit.
        timeout: Field<Seconds>,
        /// Of which events; all of them where the key is not there.
        events: Field<List<EventName>>,
        /// Your own words, for each event by its name, and under `default` for all others.
        templates: Field<Table<TemplateCard>>,
    }
}

section! {
    /// A Slack channel.
    Slack {
        /// The address of an incoming webhook: `${NAME}` or `file:/path`.
        webhook_url: Field<HookUrl>,
        /// Another channel than the webhook's own. Only old webhooks obey.
        channel: Field<AnyText>,
        /// Shown as the sender.
        username: Field<Text> = "runnerfleet",
        .. common: Common,
    }
}

section! {
    /// A Discord channel.
    Discord {
        /// The address of a webhook: `${NAME}` or `file:/path`.
        webhook_url: Field<HookUrl>,
        /// Shown as the sender.
        username: Field<Text> = "runnerfleet",
        /// The sender's picture, an `https://` address.
        avatar_url: Field<OrNone<Picture>>,
        .. common: Common,
    }
}

section! {
    /// A channel of Microsoft Teams.
    Teams {
        /// The address of a workflow ("when a Teams webhook request is received"): `${NAME}` or `file:/path`.
        webhook_url: Field<HookUrl>,
        /// `adaptive_card`, or `message_card` for what still takes the retired connectors' form.
        format: Field<TeamsFormat> = "adaptive_card",
        .. common: Common,
    }
}

section! {
    /// A program of your own.
    Generic {
        /// Its name here.
        name: Field<Text> = "generic",
        /// Where it listens: `${NAME}` or `file:/path`.
        url | webhook_url: Field<HookUrl>,
        /// Signs each body (HMAC-SHA-256, header `X-Runnerfleet-Signature-256`): `${NAME}` or `file:/path`.
        secret: Field<MaybeSecret>,
        /// Headers to send along. A value may be `${NAME}` or `file:/path`.
        headers: Field<Table<HeaderText>>,
        .. common: Common,
    }
}

section! {
    /// How an event is told. `{name}` stands for what is known of it.
    TemplateCard {
        /// The heading.
        title: Field<TemplateText>,
        /// The text.
        text | description: Field<TemplateText>,
        /// The colour: `#36a64f`, `good`, `warning`, `danger`, or a number.
        color | themeColor: Field<Color>,
        /// Slack: `false` sends plain text instead of a coloured block.
        use_attachment: Field<bool> = "true",
        /// Short facts below the text.
        fields: Field<List<TemplateField>>,
        /// Text and facts in the form of Teams' old cards.
        sections: Field<List<TemplateSection>>,
    }
}

section! {
    /// A fact.
    TemplateField {
        /// Its name.
        name (required): Field<TemplateText>,
        /// Its value.
        value (required): Field<TemplateText>,
        /// Whether it may stand beside another.
        short: Field<bool>,
        /// The same as `short`.
        inline: Field<bool>,
    }
}

section! {
    /// A section of Teams' old cards.
    TemplateSection {
        /// Its text.
        activity_title | activityTitle: Field<TemplateText>,
        /// Its facts.
        facts: Field<List<TemplateField>>,
    }
}

/// An event's name, or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum EventName {
    #[default]
    All,
    One(Kind),
}

impl Leaf for EventName {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            return Ok(Self::All);
        }
        Kind::named(text).map(Self::One).ok_or_else(|| {
            let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).chain(["*"]).collect();
            let wrong = Wrong::new("is no event", format!("it is {}", listed(&names)));
            match nearest(text, names.iter().copied()) {
                Some(near) => wrong.guess(format!("did you mean `{near}`?")),
                None => wrong,
            }
        })
    }

    fn schema() -> Json {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).chain(["*"]).collect();
        super::leaf::variable_or(&json!({ "enum": names }))
    }
}

/// A text with placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TemplateText {
    pub(super) template: Template,
    /// Part of it came from a variable, and is not to be repeated.
    pub(super) has_variables: bool,
}

impl Decode for TemplateText {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let scalar = reading.scalar(node, spot, "a text")?;
        let message = match Template::parse(&scalar.text) {
            Ok(template) => return Some(Self { template, has_variables: scalar.has_variables }),
            Err(TemplateFault::Unclosed) => "has a `{` without `}`",
            Err(TemplateFault::NotAName) => "has a `{…}` that holds no name",
        };
        reading.problem(spot, message, "`{runner_name}` stands for a value; write `{{` where a brace itself is meant");
        None
    }

    fn schema() -> Json {
        text_schema()
    }
}

/// A colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Color(pub(super) u32);

impl Decode for Color {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let scalar = reading.scalar(node, spot, "a colour")?;
        let text = scalar.text.as_str();
        let hex = text.strip_prefix('#').unwrap_or(text);
        // Discord's templates have plain numbers; `007600` is none.
        let number = (scalar.kind == Yaml::Number && !text.starts_with('0')).then(|| text.parse::<u32>().ok());
        let color = match (text, number) {
            ("good", _) => Some(0x0036_A64F),
            ("warning", _) => Some(0x00E8_A317),
            ("danger", _) => Some(0x00D9_3025),
            (_, Some(number)) => number.filter(|number| *number <= 0x00FF_FFFF),
            _ if hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u32::from_str_radix(hex, 16).ok()
            }
            _ => None,
        };
        if color.is_none() {
            reading.problem(spot, format!("{} is no colour", scalar.shown()), "write it as in `\"#36a64f\"`");
        }
        color.map(Self)
    }

    fn schema() -> Json {
        json!({ "type": ["string", "integer"], "examples": ["#36a64f", "good", 3_066_993] })
    }
}

/// An address of a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Picture(pub(super) String);

impl Leaf for Picture {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.parse::<http::Uri>() {
            Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Wrong::new("is not the address of a picture", "write `https://host/picture.png`")),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "null"] })
    }
}

/// A value, `null`, or an empty text: files of the tool before this one have all keys written out.
#[derive(Debug, Clone, Default)]
pub(super) struct OrNone<T>(pub(super) Option<T>);

impl<T: Leaf> Decode for OrNone<T> {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        if is_nothing(node) {
            return Some(Self(None));
        }
        <T as Decode>::decode(node, spot, reading).map(|value| Self(Some(value)))
    }

    fn schema() -> Json {
        <T as Leaf>::schema()
    }
}

fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Scalar { text, .. } => text.is_empty(),
        Value::List(_) | Value::Map(_) => false,
    }
}

/// The address of a webhook: whoever knows it can write there. None where it is empty, which only a recipient that is
/// switched off may be.
#[derive(Debug, Clone, Default)]
pub(super) struct HookUrl(pub(super) Option<SecretString>);

impl Decode for HookUrl {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        if is_nothing(node) {
            return Some(Self(None));
        }
        read_secret(node, spot, reading, true).map(Self)
    }

    fn schema() -> Json {
        json!({ "type": ["string", "null"], "examples": ["${SLACK_WEBHOOK_URL}", "file:/run/secrets/slack"] })
    }
}

/// A secret, or nothing where its variable is empty (`${NAME:-}`).
#[derive(Debug, Clone, Default)]
pub(super) struct MaybeSecret(pub(super) Option<SecretString>);

impl Decode for MaybeSecret {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        if is_nothing(node) {
            return Some(Self(None));
        }
        read_secret(node, spot, reading, true).map(Self)
    }

    fn schema() -> Json {
        <Secret as Decode>::schema()
    }
}

/// A header's value, which may be a secret: never shown, and no warning where it stands in the file, since most are none.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderText(pub(super) SecretString);

impl Decode for HeaderText {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        read_secret(node, spot, reading, false).map(|value| Self(value.unwrap_or_default()))
    }

    fn schema() -> Json {
        text_schema()
    }
}
