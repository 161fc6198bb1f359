//! Routes about the runner groups of an organization.

use super::call::Call;
use super::runners::shown;
use crate::model::Scope;
use crate::simulation::github::answer::{Answer, Refusal};
use crate::simulation::github::model::Visibility;
use crate::simulation::github::payload;
use serde_json::{Value, json};

pub(super) fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let org = call.part("org");
    let all: Vec<Value> = call.read(|model| {
        let seen_by = call.query("visible_to_repository").map(|name| model.repo(org, name));
        model
            .groups
            .values()
            .filter(|group| group.organization.eq_ignore_ascii_case(org))
            .filter(|group| match seen_by {
                None => true,
                Some(repo) => repo.is_some_and(|repo| group.lets_in(repo)),
            })
            .map(|group| payload::group(&model.urls, group))
            .collect()
    });
    let count = all.len();
    let (page, link) = call.page(all);
    Ok(Answer::ok(json!({ "total_count": count, "runner_groups": page })).with_header(link))
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let org = call.read(|model| model.owner(call.part("org")).map(|owner| owner.login.clone()));
    let org = org.ok_or_else(Refusal::not_found)?;
    let name = call.body.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::new(422, "Invalid request.\n\n\"name\" wasn't supplied."))?;
    let ids = selected(call, "selected_repository_ids")?.unwrap_or_default();
    let visibility = match call.body.get("visibility").and_then(Value::as_str) {
        Some("selected") => Visibility::Selected(ids),
        Some("private") => Visibility::Private,
        _ => Visibility::All,
    };
    let public = call.body.get("allows_public_repositories").and_then(Value::as_bool).unwrap_or(false);
    call.shared.change(|model, _| {
        let scope = Scope::Organization(org.clone());
        if model.group_id(&scope, Some(name)).is_some() {
            return Err(Refusal::new(409, format!("A runner group with the name \"{name}\" already exists.")));
        }
        let id = model.add_group(name, &org, visibility, public, false);
        let group = model.groups.get(&id).ok_or_else(Refusal::not_found)?;
        Ok(Answer::created(payload::group(&model.urls, group)))
    })
}

/// The ids in the body, which have to be those of the organization's repositories.
fn selected(call: &Call<'_>, key: &str) -> Result<Option<Vec<u64>>, Refusal> {
    let Some(list) = call.body.get(key).and_then(Value::as_array) else { return Ok(None) };
    let ids: Vec<u64> = list.iter().filter_map(Value::as_u64).collect();
    let org = call.part("org");
    let is_theirs = |id: &u64| {
        call.read(|model| model.repos.iter().any(|repo| repo.id == *id && repo.owner.eq_ignore_ascii_case(org)))
    };
    if ids.len() != list.len() || !ids.iter().all(is_theirs) {
        return Err(Refusal::new(422, format!("Invalid request.\n\n`{key}` names no repository of {org}.")));
    }
    Ok(Some(ids))
}

/// Name, visibility, whether public repositories may use it.
pub(super) fn change(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = group_id(call)?;
    let name = call.body.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::new(422, "Invalid request.\n\n\"name\" wasn't supplied."))?;
    call.shared.change(|model, _| {
        let group = model.groups.get_mut(&id).ok_or_else(Refusal::not_found)?;
        name.clone_into(&mut group.name);
        match (call.body.get("visibility").and_then(Value::as_str), &group.visibility) {
            (Some("all"), _) => group.visibility = Visibility::All,
            (Some("private"), _) => group.visibility = Visibility::Private,
            // Those that were chosen stay; after another visibility nothing is chosen.
            (Some("selected"), Visibility::All | Visibility::Private) => {
                group.visibility = Visibility::Selected(Vec::new());
            }
            (_, _) => {}
        }
        if let Some(public) = call.body.get("allows_public_repositories").and_then(Value::as_bool) {
            group.allows_public = public;
        }
        let group = model.groups.get(&id).ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(payload::group(&model.urls, group)))
    })
}

/// Replaces the repositories of a group for selected ones.
pub(super) fn set_repositories(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = group_id(call)?;
    let ids = selected(call, "selected_repository_ids")?;
    let ids =
        ids.ok_or_else(|| Refusal::new(422, "Invalid request.\n\n\"selected_repository_ids\" wasn't supplied."))?;
    call.shared.change(|model, _| {
        let group = model.groups.get_mut(&id).ok_or_else(Refusal::not_found)?;
        match &mut group.visibility {
            Visibility::Selected(chosen) => *chosen = ids,
            // GitHub's words are not known; it refuses, since such a group has no list.
            Visibility::All | Visibility::Private => {
                return Err(Refusal::new(409, "The runner group is not for selected repositories."));
            }
        }
        Ok(Answer::no_content())
    })
}

/// The group of the path, if it is one of this organization.
fn group_id(call: &Call<'_>) -> Result<u64, Refusal> {
    let id = call.number("runner_group_id")?;
    let org = call.part("org");
    let there =
        call.read(|model| model.groups.get(&id).is_some_and(|group| group.organization.eq_ignore_ascii_case(org)));
    if there { Ok(id) } else { Err(Refusal::not_found()) }
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = group_id(call)?;
    call.read(|model| {
        let group = model.groups.get(&id).ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(payload::group(&model.urls, group)))
    })
}

pub(super) fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = group_id(call)?;
    call.shared.change(|model, _| model.groups.remove(&id));
    Ok(Answer::no_content())
}

pub(super) fn repositories(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = group_id(call)?;
    let all: Vec<Value> = call.read(|model| {
        let group = model.groups.get(&id);
        model
            .repos
            .iter()
            .filter(|repo| group.is_some_and(|group| group.lets_in(repo)))
            .filter_map(|repo| model.owner(&repo.owner).map(|owner| payload::repository(&model.urls, repo, owner)))
            .collect()
    });
    let count = all.len();
    let (page, link) = call.page(all);
    Ok(Answer::ok(json!({ "total_count": count, "repositories": page })).with_header(link))
}

pub(super) fn runners(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = group_id(call)?;
    let all: Vec<Value> = call.read(|model| {
        model
            .runners()
            .filter(|runner| runner.group_id == id && matches!(runner.scope, Scope::Organization(_)))
            .map(|runner| shown(call, model, runner))
            .collect()
    });
    let count = all.len();
    let (page, link) = call.page(all);
    Ok(Answer::ok(json!({ "total_count": count, "runners": page })).with_header(link))
}
