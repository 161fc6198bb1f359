//! Whose jobs a pool takes, and which runner group keeps all others out.

use super::super::collection::List;
use super::super::reading::{Placed, Reading, Spot};
use super::super::section::Field;
use super::super::shape::{Allowance, PoolSettings};
use super::super::{Admission, Mode};
use crate::model::{Patterns, RISKY_EVENTS, Scope};

/// The pool's group, and whether this program makes it.
pub(super) struct Group {
    pub(super) name: Option<String>,
    /// Where `create_runner_group` stands, if it holds for this pool.
    pub(super) create: Option<Spot>,
}

/// `matching`, as far as it is about repositories and runs.
pub(super) fn admission(
    settings: &PoolSettings,
    scope: Option<&Scope>,
    (mode, makes_a_group): (Mode, bool),
    reading: &mut Reading<'_>,
) -> Admission {
    let matching = &settings.matching;
    let repositories = patterns(&matching.repositories, |pattern| pattern.0.as_str(), reading).unwrap_or_default();
    if let (Field::Good(list), Some(scope)) = (&matching.repositories, scope) {
        tell_if_nothing_is_left(&repositories, scope, &list.spot, reading);
    }
    let allowed = |field: &Field<Allowance>| field.good().map(|word| *word == Allowance::Allow);
    let admission = Admission {
        repositories,
        public: allowed(&matching.public_repositories),
        forks: allowed(&matching.forks),
        events: patterns(&matching.events, |pattern| pattern.0.as_str(), reading),
    };
    if let Mode::Persistent { .. } = mode {
        tell_what_has_no_effect(settings, makes_a_group, reading);
    } else {
        tell_what_is_given_away(settings, &admission, reading);
    }
    admission
}

/// A list of patterns; none where it is not there.
fn patterns<T>(field: &Field<List<T>>, text: impl Fn(&T) -> &str, reading: &mut Reading<'_>) -> Option<Patterns> {
    let list = field.placed()?;
    if list.value.0.is_empty() {
        reading.problem(&list.spot, "is empty", "leave it out to take all");
    }
    Some(Patterns::new(list.value.0.iter().map(|item| text(&item.value))))
}

fn tell_if_nothing_is_left(patterns: &Patterns, scope: &Scope, spot: &Spot, reading: &mut Reading<'_>) {
    let takes_some = match scope {
        Scope::Organization(login) => patterns.may_take_of(login),
        Scope::Repository { .. } => patterns.take(&scope.to_string()),
    };
    if !takes_some && !patterns.is_empty() {
        let hint = "`org_url` says where its runners are; a pattern begins with that account, or with `*/`";
        reading.problem(spot, format!("takes no repository of {scope}, where the pool is"), hint);
    }
}

/// GitHub gives jobs to runners that are kept, without anybody being asked.
fn tell_what_has_no_effect(settings: &PoolSettings, makes_a_group: bool, reading: &mut Reading<'_>) {
    let matching = &settings.matching;
    let mut spots = vec![spot_of(&matching.public_repositories), spot_of(&matching.forks), spot_of(&matching.events)];
    if !makes_a_group {
        spots.push(spot_of(&matching.repositories));
    }
    // In `runners_defaults` they are meant for other pools.
    for spot in spots.into_iter().flatten().filter(|spot| spot.path.starts_with("runners[")) {
        let hint = "a runner group keeps jobs away from them: `runner_group`, `create_runner_group`";
        reading.warning(&spot, "has no effect: GitHub itself gives jobs to the runners that are kept", hint);
    }
}

fn spot_of<T>(field: &Field<T>) -> Option<Spot> {
    field.placed().map(|placed| placed.spot.clone())
}

fn tell_what_is_given_away(settings: &PoolSettings, admission: &Admission, reading: &mut Reading<'_>) {
    if admission.public != Some(true) {
        return;
    }
    if admission.forks == Some(true)
        && let Some(spot) = spot_of(&settings.matching.forks)
    {
        let message =
            "in the public repositories that the pool takes, a pull request runs anybody's code on this machine";
        reading.warning(&spot, message, "");
    }
    if let Some(events) = admission.events.as_ref().filter(|events| RISKY_EVENTS.iter().any(|event| events.take(event)))
        && let Some(spot) = spot_of(&settings.matching.events)
    {
        let taken: Vec<String> =
            RISKY_EVENTS.iter().filter(|event| events.take(event)).map(|event| format!("`{event}`")).collect();
        let message =
            format!("in public repositories strangers can cause {}, with the repository's secrets", taken.join(", "));
        reading.warning(&spot, message, "");
    }
}

/// `runner_group` and `create_runner_group`.
pub(super) fn group(settings: &PoolSettings, scope: Option<&Scope>, reading: &mut Reading<'_>) -> Group {
    let none = Group { name: None, create: None };
    let group = settings.runner_group.placed();
    let create = settings.create_runner_group.placed().filter(|create| create.value);
    if let Some(Scope::Repository { .. }) = scope {
        // In `runners_defaults` they are meant for the pools of organizations.
        let given = [group.map(|group| &group.spot), create.map(|create| &create.spot)];
        if let Some(spot) = given.into_iter().flatten().find(|spot| spot.path.starts_with("runners[")) {
            let hint = "leave it out, or register the pool at the organization";
            reading.problem(spot, "a repository has no runner groups", hint);
        }
        return none;
    }
    if let (Some(Placed { spot, .. }), None) = (create, group)
        && settings.runner_group.is_absent()
    {
        reading.problem(spot, "there is no group to make", "name it: `runner_group: NAME`");
    }
    Group {
        name: group.map(|group| group.value.0.clone()),
        create: create.filter(|_| group.is_some()).map(|create| create.spot.clone()),
    }
}
