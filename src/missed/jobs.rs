//! Jobs as GitHub lists them, held against what is known here; and the repositories in which it is worth looking. Pure.

use crate::github::RepositoryFacts;
use crate::model::{JobAction, JobEvent, JobState, RepoName, after};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// A younger job's delivery may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(30);

/// A repository without a push or a job for so long is not looked at: what runs there, runs by a schedule or by hand, and GitHub
/// tells of it.
const ACTIVE_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a listed job is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// Nothing that is not known.
    Known,
    /// Something of which no event told.
    News,
    /// Perhaps the same, but too young to say: it has to be looked at again.
    TooYoung,
}

/// Holds a listed job against what is known of it. `has_our_runner` says whether the runner that it names is one of ours,
/// `again` whether the round before showed the same.
pub(super) fn hold(
    event: &JobEvent,
    known: Option<&JobState>,
    has_our_runner: bool,
    again: bool,
    now: Timestamp,
) -> Listed {
    let is_news = match (&event.action, known) {
        (JobAction::Queued, None | Some(JobState::Waiting))
        | (JobAction::InProgress { .. }, Some(JobState::Waiting | JobState::Queued))
        | (JobAction::Completed { .. }, Some(JobState::Waiting | JobState::Queued | JobState::InProgress { .. })) => {
            true
        }
        (JobAction::InProgress { .. }, None) => has_our_runner,
        // One that waits for an approval is found when it is queued. What is over and was never heard of is nobody's any more.
        (JobAction::Waiting | JobAction::Completed { .. }, None)
        | (JobAction::Waiting, Some(_))
        | (JobAction::Queued, Some(JobState::Queued | JobState::InProgress { .. } | JobState::Completed { .. }))
        | (JobAction::InProgress { .. }, Some(JobState::InProgress { .. } | JobState::Completed { .. }))
        | (JobAction::Completed { .. }, Some(JobState::Completed { .. })) => false,
    };
    // When a job came is in the list; when it began or ended is told by two looks.
    let is_young = match event.action {
        JobAction::Queued => event.job.created_at.is_some_and(|at| after(at, ON_ITS_WAY) > now),
        JobAction::Waiting | JobAction::InProgress { .. } | JobAction::Completed { .. } => !again,
    };
    match is_news {
        true if is_young => Listed::TooYoung,
        true => Listed::News,
        false => Listed::Known,
    }
}

/// The repositories to look at, most recently active first, at most `most`. `heard` are those of known jobs, each with the
/// moment of its last change; `given` those that the App was given; `is_ours` says whether a pool is for one.
pub(super) fn active(
    heard: impl IntoIterator<Item = (RepoName, Timestamp)>,
    given: &[RepositoryFacts],
    is_ours: impl Fn(&RepoName) -> bool,
    most: usize,
    now: Timestamp,
) -> Vec<RepoName> {
    let pushed = given.iter().filter(|it| !it.archived);
    let pushed = pushed.filter_map(|it| Some((it.full_name.clone(), it.pushed_at?)));
    let mut last: BTreeMap<String, (Timestamp, RepoName)> = BTreeMap::new();
    for (repository, at) in heard.into_iter().chain(pushed) {
        let place = last.entry(repository.as_str().to_lowercase()).or_insert((at, repository));
        place.0 = place.0.max(at);
    }
    let mut active: Vec<(Timestamp, RepoName)> =
        last.into_values().filter(|(at, repository)| after(*at, ACTIVE_WITHIN) >= now && is_ours(repository)).collect();
    active.sort_by(|(at, name), (other_at, other)| other_at.cmp(at).then_with(|| name.cmp(other)));
    active.into_iter().map(|(_, repository)| repository).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobFacts, JobId, JobKey, RunnerName};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn ago(secs: u64) -> Timestamp {
        NOW.checked_sub(Duration::from_secs(secs)).unwrap()
    }

    fn event(action: JobAction, age_secs: u64) -> JobEvent {
        JobEvent {
            action,
            job: JobFacts {
                key: JobKey { id: JobId(7), attempt: 1 },
                run_id: 1,
                name: "test".into(),
                workflow: None,
                repository: RepoName::new("acme/web"),
                private: None,
                labels: ["linux"].into_iter().collect(),
                html_url: None,
                installation: None,
                created_at: Some(ago(age_secs)),
            },
        }
    }

    #[test]
    fn what_no_event_told_is_news_and_nothing_else() {
        let runner = || Some(RunnerName::new("r"));
        let states = || {
            [
                None,
                Some(JobState::Waiting),
                Some(JobState::Queued),
                Some(JobState::InProgress { runner: runner() }),
                Some(JobState::Completed { conclusion: "success".into(), runner: None }),
            ]
        };
        let news = |action: JobAction, ours: bool| {
            let event = event(action, 3600);
            states().map(|known| hold(&event, known.as_ref(), ours, true, NOW) == Listed::News)
        };
        assert_eq!(news(JobAction::Queued, false), [true, true, false, false, false]);
        assert_eq!(news(JobAction::Waiting, false), [false; 5]);
        assert_eq!(news(JobAction::InProgress { runner: runner() }, false), [false, true, true, false, false]);
        assert_eq!(news(JobAction::InProgress { runner: runner() }, true), [true, true, true, false, false]);
        let over = JobAction::Completed { conclusion: "success".into(), runner: None };
        assert_eq!(news(over, true), [false, true, true, true, false]);
    }

    #[test]
    fn a_job_whose_delivery_may_be_on_its_way_is_looked_at_again() {
        let held = |event: &JobEvent, known: Option<JobState>, again| hold(event, known.as_ref(), false, again, NOW);
        assert_eq!(held(&event(JobAction::Queued, 29), None, true), Listed::TooYoung);
        assert_eq!(held(&event(JobAction::Queued, 30), None, false), Listed::News);
        assert_eq!(held(&event(JobAction::Queued, 1), Some(JobState::Queued), false), Listed::Known);
        let mut ageless = event(JobAction::Queued, 1);
        ageless.job.created_at = None;
        assert_eq!(held(&ageless, None, false), Listed::News);
        let began = event(JobAction::InProgress { runner: None }, 3600);
        assert_eq!(held(&began, Some(JobState::Queued), false), Listed::TooYoung);
        assert_eq!(held(&began, Some(JobState::Queued), true), Listed::News);
    }

    #[test]
    fn repositories_are_looked_at_in_the_order_of_their_last_sign_of_life() {
        let given = |name: &str, pushed_secs: Option<u64>, archived: bool| RepositoryFacts {
            id: 1,
            full_name: RepoName::new(name),
            private: true,
            fork: false,
            archived,
            pushed_at: pushed_secs.map(ago),
        };
        let repositories = [
            given("Acme/Web", Some(5), false),
            given("acme/api", Some(50), false),
            given("acme/attic", Some(1), true),
            given("acme/old", Some(8 * 24 * 3600), false),
            given("acme/empty", None, false),
            given("other/thing", Some(2), false),
        ];
        let heard = [("acme/web", 500), ("acme/jobs", 20)].map(|(name, secs)| (RepoName::new(name), ago(secs)));
        let looked = |most| {
            let is_ours = |name: &RepoName| name.owner().eq_ignore_ascii_case("acme");
            let found = active(heard.clone(), &repositories, is_ours, most, NOW);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(looked(9), ["acme/web", "acme/jobs", "acme/api"]);
        assert_eq!(looked(1), ["acme/web"]);
    }
}
