//! `scheduler:`: what is done at regular times.

use super::{MINIMAL, env, good, minimal_and, problems, told};
use runnerfleet::config::{self, Schedule, Task, Window};
use std::path::Path;
use std::time::Duration;

fn read(scheduler: &str) -> Schedule {
    good(&minimal_and(&format!("scheduler: {scheduler}\n"))).config.scheduler.expect("there is one")
}

fn faults(scheduler: &str) -> Vec<String> {
    problems(&minimal_and(&format!("scheduler: {scheduler}\n"))).iter().map(told).collect()
}

fn warnings(scheduler: &str) -> Vec<String> {
    good(&minimal_and(&format!("scheduler: {scheduler}\n"))).warnings.iter().map(told).collect()
}

#[test]
fn all_keys_are_read() {
    let schedule = read(
        "{enabled: false, check_interval: 6h, time_window: '22:00-06:00', days: [Mon, friday], actions: [deploy, check, notify, build], max_retries: 5, notify_on: [failure], tz: Europe/Paris, jitter: 5m}",
    );
    assert!(!schedule.enabled);
    assert_eq!(schedule.every, Duration::from_secs(6 * 3600));
    assert_eq!(schedule.window, Window { start: 22 * 60, end: 6 * 60 });
    assert_eq!(schedule.days, [true, false, false, false, true, false, false]);
    assert_eq!(
        schedule.actions,
        [Task::Check, Task::Notify, Task::Build, Task::Deploy],
        "in the order in which it makes sense"
    );
    assert_eq!((schedule.max_retries, schedule.jitter), (5, Duration::from_secs(300)));
    assert_eq!((schedule.tell_success, schedule.tell_failure), (false, true));
    assert_eq!(schedule.tz.iana_name(), Some("Europe/Paris"));
}

#[test]
fn what_holds_where_the_file_is_silent() {
    assert_eq!(good(MINIMAL).config.scheduler, None);
    let schedule = read("{actions: [check]}");
    assert_eq!(Schedule { actions: vec![Task::Check], ..Schedule::default() }, schedule);
    // The zone that containers are given.
    let tz = |name: &str| (name == "TZ").then(|| "America/New_York".to_owned()).or_else(|| env(name));
    let text = minimal_and("scheduler: {actions: [check]}\n");
    let loaded = config::parse(&text, "c.yaml", Path::new("/etc"), &tz, "host").unwrap();
    assert_eq!(loaded.config.scheduler.unwrap().tz.iana_name(), Some("America/New_York"));
}

#[test]
fn the_old_tools_defaults_are_raised_and_told() {
    let old = "{enabled: true, check_interval: '15s', time_window: '00:00-23:59', days: [mon, tue, wed, thu, fri, sat, sun], actions: [check, build, deploy], max_retries: 3, notify_on: [], webhook: {url: 'https://h', events: []}}";
    let schedule = read(old);
    assert_eq!(schedule.every, Duration::from_secs(60));
    assert_eq!(schedule.window, Window { start: 0, end: 1439 });
    assert_eq!(
        warnings(old),
        [
            "10:44 scheduler.check_interval: is raised to one minute; registries and GitHub count each look; `6h` is plenty",
            "10:195 scheduler.webhook: never had an effect; recipients stand under `webhooks`",
        ]
    );
}

#[test]
fn what_is_wrong_is_told() {
    let interval = "write a whole number and its unit (ms, s, m, h, d), as in `30s`, `5m` or `1h30m`";
    let window = "is no time window; write two times of day, as in `07:00-23:00` or `22:00-06:00`";
    for (text, expected) in [
        ("{check_interval: 15sfoo}", format!("10:29 scheduler.check_interval: `15sfoo` is not a time; {interval}")),
        ("{check_interval: 0s}", "10:29 scheduler.check_interval: `0s` is too short; one minute is the least that makes sense".into()),
        ("{time_window: '07:00-23:00x'}", format!("10:26 scheduler.time_window: `07:00-23:00x` {window}")),
        ("{days: []}", "10:19 scheduler.days: has no day: nothing would ever be done; leave the key out for all days".into()),
        ("{days: [funday]}", "10:20 scheduler.days[0]: `funday` is no day; it is `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`".into()),
        ("{tz: Europe/Pariss}", "10:17 scheduler.tz: `Europe/Pariss` is no time zone; write a name of the IANA database, such as `Europe/Paris`, `America/New_York` or `UTC`".into()),
        ("{actions: [check, prune]}", "10:30 scheduler.actions[1]: `prune` is not in this version yet; it knows `check`, `build`, `deploy` or `notify`".into()),
        ("{actions: [check], check_interval: 1h, jitter: 60m}", "10:59 scheduler.jitter: is not less than the interval (`check_interval`)".into()),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn what_does_nothing_is_warned_of() {
    assert_eq!(
        warnings("{check_interval: 6h}"),
        ["10:12 scheduler.actions: there is nothing to do; write `actions: [check, notify]`"]
    );
    assert_eq!(
        warnings("{actions: [notify]}"),
        ["10:22 scheduler.actions: `notify` has nothing to tell without `check`; add `check`"]
    );
    assert_eq!(warnings("{enabled: false}"), [""; 0]);
}
