//! Secrets cut out of texts that are not ours.

/// What stands where a secret was.
const CUT: &str = "[redacted]";

/// The text without GitHub tokens (`ghs_…`, `ghp_…`, `github_pat_…`; of any length: new installation tokens have some
/// 520 characters, dots among them) and without JWTs.
pub(super) fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = secret_at_start(rest) {
            clean.push_str(CUT);
            rest = &rest[length..];
        } else {
            clean.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    clean
}

/// How many bytes of a secret the text begins with. All characters of a secret are ASCII.
fn secret_at_start(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let prefix = if text.starts_with("github_pat_") {
        "github_pat_".len()
    } else if bytes.len() > 4 && bytes.starts_with(b"gh") && bytes[2].is_ascii_lowercase() && bytes[3] == b'_' {
        4
    } else if text.starts_with("eyJ") {
        3
    } else {
        return None;
    };
    let in_secret = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let body = bytes[prefix..].iter().take_while(|byte| in_secret(byte)).count();
    (body > 0).then_some(prefix + body)
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn tokens_of_every_kind_and_length_are_cut_out() {
        let long = format!("ghs_123_eyJ{}.b-c_d.e", "a".repeat(500));
        assert_eq!(redact(&format!("bad token {long}, sorry")), "bad token [redacted], sorry");
        assert_eq!(redact("ghp_abc é github_pat_11AB_x."), "[redacted] é [redacted]");
        assert_eq!(redact("Bearer eyJhbGciOi.J9-_.sig"), "Bearer [redacted]");
        assert_eq!(redact("through ghost ghs_ x"), "through ghost ghs_ x");
    }
}
