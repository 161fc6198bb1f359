//! Files of the former tool: they have no `version`, and what it took is taken still.

use super::node::{Kind, Node, Value};
use super::reading::{Reading, Scalar, Spot};

/// Whether this is such a file.
pub(super) fn is_one(root: &Node) -> bool {
    match &root.value {
        Value::Map(entries) => {
            !entries.iter().any(|(key, _)| matches!(&key.value, Value::Scalar { text, .. } if text == "version"))
        }
        Value::Null | Value::Scalar { .. } | Value::List(_) => false,
    }
}

/// Says so, before all else that is to be said of it.
pub(super) fn tell(root: &Node, reading: &mut Reading<'_>) {
    let spot = Spot { place: root.place, path: "version".to_owned() };
    let message = "is missing: the file is read as one of the former tool";
    reading.note(&spot, message, "`runnerfleet config migrate` writes it in today's form");
}

/// How today spells a number or a truth value that the former tool took as well; none where it is spelled so already.
pub(super) fn spelling_today(kind: Kind, scalar: &Scalar) -> Option<String> {
    if scalar.has_variables {
        return None;
    }
    let text = scalar.text.as_str();
    let today = match kind {
        Kind::Text => return None,
        Kind::Number => text.strip_suffix(".0").unwrap_or(text).to_owned(),
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => "true".to_owned(),
            "false" | "no" | "off" => "false".to_owned(),
            _ => return None,
        },
    };
    // `True` is no other spelling: YAML itself has three.
    let differs = if kind == Kind::Bool { scalar.kind != Kind::Bool } else { today != text || scalar.kind != kind };
    differs.then_some(today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_former_tool_took_has_one_spelling() {
        let today = |kind, written: (Kind, &str)| {
            let (text, written_as) = (written.1.to_owned(), written.0);
            let scalar = Scalar {
                text: text.clone(),
                written: text,
                kind: written_as,
                has_variables: false,
                from_environment: false,
            };
            spelling_today(kind, &scalar)
        };
        assert_eq!(today(Kind::Number, (Kind::Text, "2")).as_deref(), Some("2"));
        assert_eq!(today(Kind::Number, (Kind::Number, "2.0")).as_deref(), Some("2"));
        assert_eq!(today(Kind::Number, (Kind::Number, "2")), None);
        assert_eq!(today(Kind::Bool, (Kind::Text, "Yes")).as_deref(), Some("true"));
        assert_eq!(today(Kind::Bool, (Kind::Text, "off")).as_deref(), Some("false"));
        assert_eq!(today(Kind::Bool, (Kind::Bool, "True")), None);
        assert_eq!(today(Kind::Bool, (Kind::Text, "perhaps")), None);
        assert_eq!(today(Kind::Text, (Kind::Number, "3.10")), None);
    }
}
