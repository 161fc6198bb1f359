//! `${NAME}` and `${NAME:-default}` inside a value. It happens after YAML is read, value by value, so that what a
//! variable holds can never add a key.

/// A text with its variables filled in. No `Debug`: it may hold a secret.
pub(super) struct Interpolated {
    pub(super) text: String,
    /// A variable stood in it, set or not.
    pub(super) has_variables: bool,
    /// At least one variable was set.
    pub(super) from_environment: bool,
}

/// What is wrong with a `${…}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not set, and no default.
    Unset(String),
    /// `${` without `}`.
    Unclosed,
    /// Not a variable's name, or an operator other than `:-`.
    NotAName(String),
}

/// Fills in the variables; `$${` stands for `${` itself.
pub(super) fn interpolate(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Interpolated, Vec<Fault>> {
    let mut done =
        Interpolated { text: String::with_capacity(text.len()), has_variables: false, from_environment: false };
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        let (before, from_dollar) = rest.split_at(dollar);
        if let Some(before) = before.strip_suffix('$') {
            done.text += before;
            done.text += "${";
            rest = &from_dollar[2..];
            continue;
        }
        done.text += before;
        done.has_variables = true;
        let Some(end) = from_dollar.find('}') else {
            faults.push(Fault::Unclosed);
            rest = "";
            break;
        };
        let inside = &from_dollar[2..end];
        rest = &from_dollar[end + 1..];
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
            faults.push(Fault::NotAName(name.to_owned()));
            continue;
        }
        // As in a shell: with `:-` an empty variable counts as not set.
        match (env(name), default) {
            (Some(value), Some(default)) if value.is_empty() => done.text += default,
            (Some(value), _) => {
                done.text += &value;
                done.from_environment = true;
            }
            (None, Some(default)) => done.text += default,
            (None, None) => faults.push(Fault::Unset(name.to_owned())),
        }
    }
    done.text += rest;
    if faults.is_empty() { Ok(done) } else { Err(faults) }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Fault {
    /// What is wrong and what would be right. Names only, never a value; and no text that is no name, since a secret
    /// with `${` in it may have been meant literally.
    pub(super) fn told(&self) -> (String, String) {
        match self {
            Self::Unset(name) => (
                format!("the variable `{name}` is not set"),
                format!("set it, or give a default: `${{{name}:-default}}`"),
            ),
            Self::Unclosed => ("`${` has no `}`".into(), "write `$${` where `${` itself is meant".into()),
            Self::NotAName(_) => (
                "`${…}` holds no variable".into(),
                "write `${NAME}` or `${NAME:-default}`, without a `${` in the default; `$${` stands for `${` itself"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Vec<Fault>> {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${A}\nadmin: true".to_owned()),
            _ => None,
        };
        interpolate(text, &env).map(|done| done.text)
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, expected) in [
            ("plain $ $5 {x}", "plain $ $5 {x}"),
            ("${A}-${A}", "one-one"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY:-two}${EMPTY}", "two"),
            ("$${A} ${A}", "${A} one"),
            ("$$${A}", "$${A}"),
            ("${B:-a:-b}", "a:-b"),
            ("${TRICK}", "${A}\nadmin: true"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn all_faults_of_a_text_are_found() {
        assert_eq!(
            filled("${X} ${A} ${1Y} ${Z:?no} ${Q:-${A}} ${"),
            Err(vec![
                Fault::Unset("X".into()),
                Fault::NotAName("1Y".into()),
                Fault::NotAName("Z:?no".into()),
                Fault::NotAName("Q".into()),
                Fault::Unclosed,
            ])
        );
    }
}
