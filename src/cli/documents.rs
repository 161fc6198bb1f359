//! The two READMEs say the same, and know every verb.

use super::Cli;
use crate::model::StateName;
use clap::CommandFactory;

const ENGLISH: &str = include_str!("../../README.md");
const FRENCH: &str = include_str!("../../README.fr.md");

/// The commands of all shell blocks, without what is said about them.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => {
                found.push(command.split("  #").next().unwrap_or_default().trim());
            }
            _ => {}
        }
    }
    found
}

#[test]
fn both_give_the_same_commands() {
    let english = commands(ENGLISH);
    assert!(english.contains(&"scripts/demo") && english.contains(&"scripts/test"), "{english:?}");
    assert_eq!(commands(FRENCH), english, "README.fr.md (left) and README.md (right)");
}

#[test]
fn every_verb_is_named_in_french() {
    let named = |verb: &str| FRENCH.contains(&format!("`{verb}`")) || FRENCH.contains(&format!("`{verb} "));
    let command = Cli::command();
    let visible = || command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let missing: Vec<&str> = visible().map(clap::Command::get_name).filter(|verb| !named(verb)).collect();
    assert!(missing.is_empty(), "README.fr.md does not name {missing:?}");
    for verb in visible() {
        let under = verb.get_subcommands().filter(|verb| !verb.is_hide_set());
        let missing: Vec<String> = under
            .map(|under| format!("{} {}", verb.get_name(), under.get_name()))
            .filter(|verb| !named(verb))
            .collect();
        assert!(missing.is_empty(), "README.fr.md does not name {missing:?}");
    }
}

#[test]
fn every_state_has_its_french_name() {
    let names = [
        (StateName::Created, "créé"),
        (StateName::Started, "démarré"),
        (StateName::Running, "en cours d'exécution"),
        (StateName::Stopped, "arrêté"),
        (StateName::Removed, "supprimé"),
        (StateName::Error, "en erreur"),
    ];
    for (state, french) in names {
        assert!(FRENCH.contains(&format!("| {french} | `{state}` |")), "{state}");
    }
}
