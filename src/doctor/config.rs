//! The file, and the files that it names.

use super::catalogue::{CERTIFICATE, FILE, SECRET_FILES, WARNINGS};
use super::finding::Finding;
use super::words::count;
use crate::config::{Loaded, Problem, Problems, SecretSource};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// A certificate that lapses within this time should be renewed now: most are renewed a month ahead.
const LAPSES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The certificate of `http.tls`, as its files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its file.
    pub cert: PathBuf,
    /// The key's.
    pub key: PathBuf,
    /// When it lapses, where it tells; or why it cannot be used.
    pub lapses: Result<Option<Timestamp>, String>,
    /// Whether every user of the machine can read the key.
    pub key_is_open: bool,
}

/// What there is to say of the file. `certificate` is what its files hold, where it names any.
pub fn findings(
    loaded: &Result<Loaded, Problems>,
    certificate: Option<&CertificateFacts>,
    now: Timestamp,
) -> Vec<Finding> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            let mut findings: Vec<Finding> = problems.iter().map(problem).collect();
            let because = "the configuration cannot be used";
            findings.extend([WARNINGS, SECRET_FILES, CERTIFICATE].iter().map(|check| check.not_looked(because)));
            return findings;
        }
    };
    let pools = count(loaded.config.pools.len(), "pool", "pools");
    let mut findings = vec![FILE.ok(format!("{} is in order: {pools}", loaded.config.file.display()))];
    findings.extend(warnings(loaded));
    findings.extend(secret_files(&loaded.secret_files));
    findings.push(match certificate {
        Some(facts) => of_certificate(facts, now),
        None if loaded.config.http.tls.is_some() => CERTIFICATE.not_looked("nobody read its files"),
        None => CERTIFICATE.ok("the receiver has no certificate of its own (`http.tls`); TLS is its proxy's"),
    });
    findings
}

/// `key: message`, without the line of the file: that is `config check`'s.
fn words(problem: &Problem) -> String {
    let place = if problem.line > 0 { format!("line {}: ", problem.line) } else { String::new() };
    let key = if problem.key_path.is_empty() { String::new() } else { format!("{}: ", problem.key_path) };
    format!("{place}{key}{}", problem.message)
}

fn problem(problem: &Problem) -> Finding {
    let says = format!("{}: {}", problem.file, words(problem));
    let remedy = problem.hint.clone().unwrap_or_else(|| "`runnerfleet config check` shows the place".to_owned());
    FILE.broken(says, remedy)
}

fn warnings(loaded: &Loaded) -> Vec<Finding> {
    // Files that are open are a check of their own, with another colour.
    let told = |warning: &&Problem| {
        let open = |file: &SecretSource| file.key_path == warning.key_path && is_open(file.mode);
        !loaded.secret_files.iter().any(open)
    };
    let warnings: Vec<Finding> = (loaded.warnings.iter().filter(told))
        .map(|warning| {
            let remedy = warning.hint.clone();
            WARNINGS.warning(words(warning), remedy.unwrap_or_else(|| "change it in the file".to_owned()))
        })
        .collect();
    if warnings.is_empty() { vec![WARNINGS.ok("nothing in it is warned of")] } else { warnings }
}

/// Whether users other than the owner and the group may do anything with it.
fn is_open(mode: u32) -> bool {
    mode & 0o007 != 0
}

fn secret_files(files: &[SecretSource]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files {
        let shown = file.path.display();
        let remedy = format!("chmod 600 '{shown}'");
        let mode = file.mode;
        let finding = if is_open(mode) {
            let says = format!(
                "every user of this machine can get at {shown} (mode {mode:04o}), the file of {}",
                file.key_path
            );
            SECRET_FILES
                .broken(says, format!("{remedy}, and take a new secret if others had the time to read this one"))
        } else if mode & 0o020 != 0 {
            let says = format!("its group can change {shown} (mode {mode:04o}), the file of {}", file.key_path);
            SECRET_FILES.warning(says, remedy)
        } else {
            continue;
        };
        found.push(finding.about(shown.to_string()));
    }
    if found.is_empty() {
        found.push(SECRET_FILES.ok(match files.len() {
            0 => "no secret comes from a file".to_owned(),
            many => {
                format!("{}: no other user of this machine can read what is in there", count(many, "file", "files"))
            }
        }));
    }
    found
}

fn of_certificate(facts: &CertificateFacts, now: Timestamp) -> Finding {
    let cert = facts.cert.display();
    let renew = "renew it; a running `serve` takes the new files by itself";
    match &facts.lapses {
        Err(why) => CERTIFICATE
            .broken(format!("the receiver's certificate cannot be used: {why}"), "put the right files in `http.tls`"),
        Ok(Some(at)) if *at <= now => {
            CERTIFICATE.broken(format!("the certificate in {cert} lapsed on {at:.0}: GitHub refuses to deliver"), renew)
        }
        Ok(_) if facts.key_is_open => CERTIFICATE.broken(
            format!("every user of this machine can read the certificate's key {}", facts.key.display()),
            format!("chmod 600 '{}', and have a certificate made with another key", facts.key.display()),
        ),
        Ok(Some(at)) if at.duration_since(now) < LAPSES_SOON => {
            CERTIFICATE.warning(format!("the certificate in {cert} lapses on {at:.0}"), renew)
        }
        Ok(Some(at)) => CERTIFICATE.ok(format!("the certificate in {cert} is good until {at:.0}")),
        Ok(None) => CERTIFICATE.unknown(
            format!("the certificate in {cert} does not tell when it lapses"),
            format!("openssl x509 -noout -enddate -in '{cert}'"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn loaded(text: &str) -> Result<Loaded, Problems> {
        let env = |name: &str| Some(format!("value-of-{name}"));
        parse(text, "fleet.yaml", Path::new("/etc/fleet"), &env, "here")
    }

    fn good() -> Loaded {
        loaded(
            "version: 1\nrunners_defaults: { org_url: https://github.com/acme, base_image: 'runner:1' }\n\
             runners: [{ id: linux, labels: [linux] }]\ngithub: { auth: { token: '${TOKEN}' } }\n\
             intake: { secrets: ['${SECRET}'] }\n",
        )
        .unwrap()
    }

    fn verdicts(findings: &[Finding]) -> Vec<(&'static str, Verdict)> {
        findings.iter().map(|finding| (finding.id, finding.verdict)).collect()
    }

    fn source(mode: u32) -> SecretSource {
        SecretSource {
            key_path: "github.auth.app.private_key_file".to_owned(),
            path: "/etc/fleet/app.pem".into(),
            mode,
        }
    }

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    #[test]
    fn a_good_file_is_green() {
        let findings = findings(&Ok(good()), None, now());
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
        assert_eq!(findings.len(), 4);
    }

    #[test]
    fn a_broken_file_is_red_with_each_problem_and_the_rest_is_not_looked_at() {
        let findings = findings(&loaded("version: 1\nrunners: 7\nnonsense: true\n"), None, now());
        let broken: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Broken).collect();
        assert!(broken.len() >= 2 && broken.iter().all(|finding| finding.id == "config.file"), "{findings:?}");
        assert!(broken.iter().all(|finding| finding.remedy.is_some()));
        assert!(findings.last().unwrap().says.contains("not looked at, because the configuration cannot be used"));
    }

    #[test]
    fn a_warning_is_yellow() {
        let mut loaded = good();
        loaded.warnings = super::tests::loaded(
            "version: 1\nrunners_defaults: { org_url: https://github.com/acme, base_image: 'runner:1' }\n\
             runners: [{ id: linux, labels: [linux] }]\ngithub: { auth: { token: ghp_0123456789abcdef } }\n\
             intake: { secrets: ['${SECRET}'] }\n",
        )
        .unwrap()
        .warnings;
        let findings = findings(&Ok(loaded), None, now());
        let warning = findings.iter().find(|finding| finding.id == "config.warnings").unwrap();
        assert_eq!(warning.verdict, Verdict::Warning);
        assert!(warning.says.contains("a secret stands in the file itself"), "{}", warning.says);
        assert!(warning.remedy.as_ref().unwrap().contains("${NAME}"));
        assert!(!format!("{findings:?}").contains("ghp_"));
    }

    #[test]
    fn files_of_secrets_in_each_colour() {
        let of = |mode| secret_files(&[source(mode)]).remove(0);
        assert_eq!(of(0o600).verdict, Verdict::Ok);
        assert_eq!(of(0o640).verdict, Verdict::Ok, "a group may be meant");
        assert_eq!(of(0o660).verdict, Verdict::Warning);
        for open in [0o644, 0o604, 0o602] {
            let finding = of(open);
            assert_eq!(finding.verdict, Verdict::Broken);
            assert!(finding.remedy.unwrap().starts_with("chmod 600 '/etc/fleet/app.pem'"));
        }
        assert_eq!(secret_files(&[])[0].verdict, Verdict::Ok);
    }

    #[test]
    fn certificates_in_each_colour() {
        let of = |lapses: Result<Option<&str>, &str>, key_is_open| {
            let lapses = lapses.map(|at| at.map(|at| at.parse().unwrap())).map_err(str::to_owned);
            let facts =
                CertificateFacts { cert: "/tls/cert.pem".into(), key: "/tls/key.pem".into(), lapses, key_is_open };
            of_certificate(&facts, now())
        };
        assert_eq!(of(Ok(Some("2027-11-22T12:00:00Z")), false).verdict, Verdict::Ok);
        assert_eq!(of(Ok(Some("2026-11-30T12:00:00Z")), false).verdict, Verdict::Warning);
        assert_eq!(of(Ok(Some("2026-11-22T11:59:59Z")), false).verdict, Verdict::Broken);
        assert_eq!(of(Ok(Some("2027-11-22T12:00:00Z")), true).verdict, Verdict::Broken);
        assert_eq!(of(Ok(None), false).verdict, Verdict::Unknown);
        let gone = of(Err("the file /tls/cert.pem is not there"), false);
        assert_eq!(gone.verdict, Verdict::Broken);
        assert!(gone.says.contains("is not there"));
    }

    #[test]
    fn all_checks_of_the_area_are_told_of() {
        let told: Vec<_> = verdicts(&findings(&Ok(good()), None, now())).into_iter().map(|(id, _)| id).collect();
        assert_eq!(told, ["config.file", "config.warnings", "config.secret_files", "config.certificate"]);
    }
}
