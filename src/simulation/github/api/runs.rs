//! Routes about runs, jobs and repositories.

use super::call::Call;
use crate::simulation::github::answer::{Answer, Refusal};
use crate::simulation::github::model::{Conclusion, Job, Model, Run};
use crate::simulation::github::payload;
use serde_json::{Value, json};

fn full_name(call: &Call<'_>) -> String {
    format!("{}/{}", call.part("owner"), call.part("repo"))
}

fn shown(model: &Model, run: &Run) -> Option<Value> {
    let repo = model.repo_named(&run.repository)?;
    let owner = model.owner(&repo.owner)?;
    Some(payload::run(&model.urls, run, model.run_status(run.id), repo, owner))
}

/// Newest first; `status` is a status or a conclusion.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let name = full_name(call);
    let all: Vec<Value> = call.read(|model| {
        model
            .runs()
            .rev()
            .filter(|run| run.repository.eq_ignore_ascii_case(&name))
            .filter(|run| {
                call.query("status").is_none_or(|wanted| {
                    let (status, conclusion) = model.run_status(run.id);
                    status == wanted || conclusion.map(Conclusion::as_str) == Some(wanted)
                })
            })
            .filter_map(|run| shown(model, run))
            .collect()
    });
    let count = all.len();
    let (page, link) = call.page(all);
    Ok(Answer::ok(json!({ "total_count": count, "workflow_runs": page })).with_header(link))
}

/// The run of the path, if it is one of this repository.
fn with_run<T>(call: &Call<'_>, look: impl FnOnce(&Model, &Run) -> Option<T>) -> Result<T, Refusal> {
    let (id, name) = (call.number("run_id")?, full_name(call));
    call.read(|model| {
        let run = model.run(id).filter(|run| run.repository.eq_ignore_ascii_case(&name))?;
        look(model, run)
    })
    .ok_or_else(Refusal::not_found)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, Refusal> {
    with_run(call, shown).map(Answer::ok)
}

fn job_page(call: &Call<'_>, all: Vec<Value>) -> Answer {
    let count = all.len();
    let (page, link) = call.page(all);
    Answer::ok(json!({ "total_count": count, "jobs": page })).with_header(link)
}

pub(super) fn jobs(call: &Call<'_>) -> Result<Answer, Refusal> {
    let every = call.query("filter") == Some("all");
    let all = with_run(call, |model, run| {
        let jobs: Vec<&Job> =
            if every { model.jobs().filter(|job| job.run_id == run.id).collect() } else { model.latest_jobs(run.id) };
        Some(jobs.into_iter().map(|job| payload::job(&model.urls, job)).collect())
    })?;
    Ok(job_page(call, all))
}

pub(super) fn jobs_of_attempt(call: &Call<'_>) -> Result<Answer, Refusal> {
    let attempt = call.number("attempt_number")?;
    let all = with_run(call, |model, run| {
        let of_attempt = |job: &&Job| job.run_id == run.id && u64::from(job.key.attempt) == attempt;
        (attempt >= 1 && attempt <= u64::from(run.attempt))
            .then(|| model.jobs().filter(of_attempt).map(|job| payload::job(&model.urls, job)).collect())
    })?;
    Ok(job_page(call, all))
}

pub(super) fn job(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, name) = (call.number("job_id")?, full_name(call));
    call.read(|model| {
        let job = model.job_by_id(id).filter(|job| job.spec.repository.eq_ignore_ascii_case(&name));
        job.map(|job| Answer::ok(payload::job(&model.urls, job))).ok_or_else(Refusal::not_found)
    })
}

pub(super) fn repository(call: &Call<'_>) -> Result<Answer, Refusal> {
    call.read(|model| {
        let repo = model.repo(call.part("owner"), call.part("repo")).ok_or_else(Refusal::not_found)?;
        let owner = model.owner(&repo.owner).ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(payload::repository(&model.urls, repo, owner)))
    })
}
