//! The text of the pages on loopback. Pure. No script or style but their own, nothing loaded from anywhere.

use serde_json::Value;

/// What a person sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a> {
    /// Its heading.
    pub title: &'a str,
    /// HTML below it.
    pub body: &'a str,
}

/// As text in HTML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The whole document. `nonce` is what the page's own script and style are known by.
pub fn document(page: &Page<'_>, nonce: &str, script: &str) -> String {
    let title = escaped(page.title);
    let body = page.body;
    let script = if script.is_empty() { String::new() } else { format!("<script nonce=\"{nonce}\">{script}</script>") };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} - runnerfleet</title>\
         <style nonce=\"{nonce}\">body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}}\
         button,.button{{font:inherit;display:inline-block;padding:.5rem 1rem;border:0;border-radius:.4rem;background:#1f6f43;\
         color:#fff;text-decoration:none;cursor:pointer}}code{{background:#eee;padding:0 .2rem}}</style>\
         <h1>{title}</h1>{body}{script}</html>"
    )
}

/// The form that posts the manifest to GitHub. A script presses the button; without scripts the person does.
pub fn form(address: &str, manifest: &Value, name: &str, nonce: &str) -> String {
    let body = format!(
        "<p>GitHub asks you now for the App's name (<code>{}</code> unless you change it), and makes it when you press \
         <em>Create GitHub App</em>. Then it sends you back here.</p>\
         <form id=\"manifest-form\" method=\"post\" action=\"{}\">\
         <input type=\"hidden\" name=\"manifest\" value=\"{}\">\
         <button id=\"to-github\">Go on to GitHub</button></form>",
        escaped(name),
        escaped(address),
        escaped(&manifest.to_string())
    );
    let script = "document.getElementById('manifest-form').submit();";
    document(&Page { title: "Make the GitHub App", body: &body }, nonce, script)
}

/// The App is made: on to its installation.
pub fn made(name: &str, install: &str, account: &str, nonce: &str) -> String {
    let body = format!(
        "<p>GitHub made <code id=\"made\">{}</code>; its key and its secret are kept where <code>runnerfleet setup</code> \
         runs.</p><p>Now install it on <code>{}</code>:</p>\
         <p><a class=\"button\" id=\"to-install\" href=\"{}\">Install it</a></p>\
         <p>The terminal goes on by itself once that is done.</p>",
        escaped(name),
        escaped(account),
        escaped(install)
    );
    document(&Page { title: "The App is made", body: &body }, nonce, "")
}

/// Something is in the way.
pub fn failed(why: &str, nonce: &str) -> String {
    let body = format!("<p id=\"failed\">{}</p>", escaped(why));
    document(&Page { title: "This did not work", body: &body }, nonce, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_becomes_markup() {
        let page = form("https://github.com/x?state=1&a", &serde_json::json!({ "name": "<b>\"'" }), "<b>", "n0nce");
        assert!(!page.contains("<b>"), "{page}");
        assert!(page.contains("value=\"{&quot;name&quot;:&quot;&lt;b&gt;\\&quot;&#39;&quot;}\""), "{page}");
        assert!(page.contains("action=\"https://github.com/x?state=1&amp;a\""), "{page}");
        assert!(page.contains("<script nonce=\"n0nce\">") && page.contains("id=\"to-github\""), "{page}");
        assert!(!made("a", "https://x", "acme", "n").contains("<script"));
        assert!(failed("<i>", "n").contains("&lt;i&gt;"));
    }
}
