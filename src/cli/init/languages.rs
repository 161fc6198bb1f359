//! The languages that there are Dockerfiles for, and their versions.

/// A language with a Dockerfile of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Language(usize);

/// A language in a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) language: Language,
    /// None: the Dockerfile has none (`base`).
    pub(super) version: Option<String>,
}

/// One Dockerfile.
macro_rules! dockerfile {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../dockerfiles/", $name, "/Dockerfile")))
    };
}

const ALL: [(&str, &str); 9] = [
    dockerfile!("base"),
    dockerfile!("node"),
    dockerfile!("php"),
    dockerfile!("python"),
    dockerfile!("java"),
    dockerfile!("go"),
    dockerfile!("rust"),
    dockerfile!("dotnet"),
    dockerfile!("ruby"),
];

impl Language {
    /// All of them.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..ALL.len()).map(Self)
    }

    /// The one of that name.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = ALL.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(Self).ok_or_else(|| format!("there is no Dockerfile for `{name}`; there are {}", names()))
    }

    pub(super) fn name(self) -> &'static str {
        ALL[self.0].0
    }

    pub(super) fn dockerfile(self) -> &'static str {
        ALL[self.0].1
    }

    /// From the configuration's folder.
    pub(super) fn folder(self) -> String {
        format!("dockerfiles/{}", self.name())
    }

    pub(super) fn dockerfile_path(self) -> String {
        format!("{}/Dockerfile", self.folder())
    }

    /// The version that its Dockerfile has by itself.
    pub(super) fn default_version(self) -> Option<&'static str> {
        let argument = format!("ARG {}_VERSION=", self.name().to_ascii_uppercase());
        self.dockerfile().lines().find_map(|line| line.strip_prefix(&argument)).map(|text| text.trim_matches('"'))
    }

    /// In this version, or in that of its Dockerfile. A short one (`22`) stands for the Dockerfile's, if that begins so.
    pub(super) fn picked(self, version: Option<&str>) -> Result<Picked, String> {
        let name = self.name();
        let picked = |version: &str| Picked { language: self, version: Some(version.to_owned()) };
        match (version, self.default_version()) {
            (None, default) => Ok(Picked { language: self, version: default.map(str::to_owned) }),
            (Some(_), None) => Err(format!("`{name}` has no version")),
            (Some(version), _) if !is_version(version) => {
                Err(format!("`{version}` is no version of {name}; digits, letters, `.`, `-` and `+` are possible"))
            }
            (Some(version), Some(default)) if default == version || default.starts_with(&format!("{version}.")) => {
                Ok(picked(default))
            }
            (Some(version), Some(default)) if parts(version) < parts(default) => {
                Err(format!("{name} {version}: give all of the version, as in {default}"))
            }
            (Some(version), Some(_)) => Ok(picked(version)),
        }
    }
}

fn parts(version: &str) -> usize {
    version.split('.').count()
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
}

/// `base, node and …`.
pub(super) fn names() -> String {
    let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

/// `node`, `php=8.3`.
pub(super) fn pick(written: &[String]) -> Result<Vec<Picked>, String> {
    let mut picked: Vec<Picked> = Vec::new();
    for text in written {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name.trim(), Some(version.trim())),
            None => (text.trim(), None),
        };
        let one = Language::named(name)?.picked(version)?;
        if picked.contains(&one) {
            return Err(format!("`{text}` is given twice"));
        }
        picked.push(one);
    }
    Ok(picked)
}

/// What the pools are called: `node` where there is one of it, else `php83` and `php84`.
pub(super) fn pool_names(picked: &[Picked]) -> Vec<String> {
    let same = |name: &dyn Fn(&Picked) -> String, one: &Picked| {
        picked.iter().filter(|other| name(other) == name(one)).count() > 1
    };
    let plain = |one: &Picked| one.language.name().to_owned();
    let major = |one: &Picked| short(one, 1);
    let minor = |one: &Picked| short(one, 2);
    let pool_name = |one: &Picked| match (same(&plain, one), same(&major, one), same(&minor, one)) {
        (false, ..) => plain(one),
        (true, false, _) => major(one),
        (true, true, false) => minor(one),
        (true, true, true) => short(one, usize::MAX),
    };
    picked.iter().map(pool_name).collect()
}

/// `php83`: without a separator, since `php-83` would be a runner of a pool `php`.
fn short(one: &Picked, parts: usize) -> String {
    let version = one.version.as_deref().unwrap_or_default();
    let parts: Vec<_> = version.split('.').take(parts).collect();
    format!("{}{}", one.language.name(), parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(written: &[&str]) -> Result<Vec<Picked>, String> {
        pick(&written.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_language_but_the_base_has_a_version() {
        for language in Language::all() {
            assert_eq!(language.default_version().is_some(), language.name() != "base", "{}", language.name());
        }
    }

    #[test]
    fn a_short_version_is_the_one_of_the_dockerfile() {
        let default = Language::named("node").unwrap().default_version().unwrap();
        let major = default.split('.').next().unwrap();
        let found = picked(&[&format!("node={major}")]).unwrap();
        assert_eq!(found[0].version.as_deref(), Some(default));
        let wrong = picked(&["node=2"]).unwrap_err();
        assert_eq!(wrong, format!("node 2: give all of the version, as in {default}"));
        assert_eq!(picked(&["node=18.0.1"]).unwrap()[0].version.as_deref(), Some("18.0.1"));
    }

    #[test]
    fn slips_are_told() {
        assert!(
            picked(&["nodejs"])
                .unwrap_err()
                .ends_with("there are base, node, php, python, java, go, rust, dotnet and ruby")
        );
        assert_eq!(picked(&["base=1"]).unwrap_err(), "`base` has no version");
        assert_eq!(picked(&["php=8.3", "php=8.3"]).unwrap_err(), "`php=8.3` is given twice");
        assert!(picked(&["php=8.3\nimage: x"]).unwrap_err().contains("is no version of php"));
    }

    #[test]
    fn pools_have_names_that_differ_and_are_no_runners_of_each_other() {
        let names = |written: &[&str]| pool_names(&picked(written).unwrap());
        assert_eq!(names(&["node", "go"]), ["node", "go"]);
        assert_eq!(names(&["node=20.1.0", "node=18.3.0", "php"]), ["node20", "node18", "php"]);
        assert_eq!(names(&["php=8.3", "php=8.2", "php=7.4"]), ["php83", "php82", "php7"]);
        assert_eq!(names(&["go=1.25.1", "go=1.25.2"]), ["go1251", "go1252"]);
    }
}
