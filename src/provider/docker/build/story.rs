//! From a builder's lines to news, and to what went wrong. Pure.

use super::super::evidence::tidy;
use super::message::Message;
use super::trace::{self, Status, Vertex};
use super::{BuildError, Heard, HeardKind};
use std::collections::{HashMap, VecDeque};

/// So many of the last lines are kept for the case that it fails.
const KEPT: usize = 20;
/// Longer lines are cut.
const WIDEST: usize = 300;

/// A build so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    image: Option<String>,
    error: Option<String>,
    /// The older builder's step.
    step: Option<Step>,
    output: Output,
    /// BuildKit's steps, by digest.
    steps: HashMap<String, Vertexed>,
    failed: Option<String>,
}

#[derive(Debug, Clone)]
struct Step {
    number: Option<(u32, u32)>,
    text: String,
}

#[derive(Debug)]
struct Vertexed {
    step: Step,
    begun: bool,
    done: bool,
    output: Output,
}

/// What a step printed: whole lines, and one that may go on.
#[derive(Debug, Default)]
struct Output {
    lines: VecDeque<String>,
    rest: String,
}

impl Story {
    /// One more line.
    pub(super) fn hear(&mut self, message: Message, news: &mut (dyn FnMut(Heard) + Send)) {
        if let Some(error) = message.error {
            self.error = Some(error.trim().to_owned());
        }
        match message.aux {
            Some(serde_json::Value::String(trace)) => {
                if let Some(status) = trace::decode(&trace) {
                    self.follow(status, news);
                }
            }
            Some(aux) => {
                if let Some(id) = aux.get("ID").and_then(|id| id.as_str()) {
                    self.image = Some(id.to_owned());
                }
            }
            None => {}
        }
        if let Some(text) = message.stream {
            self.classic(&text, news);
        } else if let (Some(status), Some(detail)) = (message.status, message.detail)
            && let (Some(current), Some(total)) = (detail.current, detail.total)
        {
            let number = self.step.as_ref().and_then(|step| step.number);
            news(Heard {
                kind: HeardKind::Progress,
                step: number,
                text: clean(&status),
                percent: share(current, total),
            });
        }
    }

    /// `Step 2/4 : RUN make`, ` ---> Running in 365edca18059`, and what the step prints.
    fn classic(&mut self, text: &str, news: &mut (dyn FnMut(Heard) + Send)) {
        let begun = text.strip_prefix("Step ").and_then(|rest| rest.split_once(" : "));
        if let Some((number, what)) = begun
            && let Some(number) = numbers(number)
        {
            let step = Step { number: Some(number), text: clean(what) };
            news(step.news(HeardKind::Begin, step.text.clone(), share(i64::from(number.0) - 1, number.1.into())));
            self.step = Some(step);
            self.output = Output::default();
            return;
        }
        // The builder's own notes.
        if text.starts_with(" --->") || text.starts_with("Removing intermediate container") || text.trim().is_empty() {
            return;
        }
        for line in self.output.add(text) {
            let number = self.step.as_ref().and_then(|step| step.number);
            news(Heard { kind: HeardKind::Output, step: number, text: line, percent: None });
        }
    }

    /// BuildKit tells of each step again whenever something about it changed.
    fn follow(&mut self, status: Status, news: &mut (dyn FnMut(Heard) + Send)) {
        for vertex in status.vertexes {
            self.vertex(vertex, news);
        }
        for status in status.statuses {
            if let Some(known) = self.steps.get(&status.vertex)
                && let Some(percent) = share(status.current, status.total)
            {
                news(known.step.news(HeardKind::Progress, clean(&status.id), Some(percent)));
            }
        }
        for log in status.logs {
            if let Some(known) = self.steps.get_mut(&log.vertex) {
                for line in known.output.add(&String::from_utf8_lossy(&log.msg)) {
                    news(known.step.news(HeardKind::Output, line, None));
                }
            }
        }
    }

    fn vertex(&mut self, vertex: Vertex, news: &mut (dyn FnMut(Heard) + Send)) {
        let name = vertex.name.lines().next().unwrap_or_default();
        let is_own = name.starts_with("[internal]") || name.starts_with("copy /context");
        if !vertex.error.is_empty() && self.failed.is_none() {
            self.failed = Some(vertex.digest.clone());
        }
        let known = self.steps.entry(vertex.digest).or_insert_with(|| Vertexed {
            step: named(name),
            begun: false,
            done: false,
            output: Output::default(),
        });
        let (step, mut told) = (known.step.clone(), None);
        if vertex.completed.is_some() && !known.done {
            known.done = true;
            let text = match (vertex.started, vertex.completed) {
                (Some(started), Some(completed)) if !vertex.cached && vertex.error.is_empty() => {
                    let tenths = (completed.millis() - started.millis()).max(0) / 100;
                    // Where nothing of it was shown, its name is.
                    let name = if known.begun { "done" } else { &step.text };
                    Some(format!("{name} ({}.{} s)", tenths / 10, tenths % 10))
                }
                _ if vertex.cached => Some(format!("{} (cached)", step.text)),
                _ => None,
            };
            known.begun = true;
            told = text.map(|text| (HeardKind::Done, text));
        } else if vertex.started.is_some() && !known.begun {
            known.begun = true;
            told = Some((HeardKind::Begin, step.text.clone()));
        }
        if let Some((kind, text)) = told.filter(|_| !is_own) {
            // What has no number comes when all that have one are done.
            news(step.news(kind, text, step.number.and(self.percent())));
        }
    }

    /// Of the steps that have a number: how many are done.
    fn percent(&self) -> Option<u8> {
        let numbered = self.steps.values().filter(|known| known.step.number.is_some());
        let (done, all) = numbered.fold((0, 0), |(done, all), known| (done + i64::from(known.done), all + 1));
        share(done, all)
    }

    /// The image, or what went wrong.
    pub(super) fn end(self) -> Result<String, BuildError> {
        let failed = self.failed.and_then(|digest| self.steps.get(&digest));
        match (self.error, self.image) {
            (Some(why), _) => {
                let (step, output) = match failed {
                    Some(known) => (Some(&known.step), &known.output),
                    None => (self.step.as_ref(), &self.output),
                };
                let why = clean(&why);
                Err(BuildError::Failed { step: step.map(Step::to_text), why: hinted(why), output: output.last() })
            }
            (None, Some(image)) => Ok(image),
            (None, None) => Err(BuildError::Failed {
                step: self.step.as_ref().map(Step::to_text),
                why: "the engine ended the build without an image".to_owned(),
                output: self.output.last(),
            }),
        }
    }
}

impl Step {
    fn news(&self, kind: HeardKind, text: String, percent: Option<u8>) -> Heard {
        Heard { kind, step: self.number, text, percent }
    }

    fn to_text(&self) -> String {
        match self.number {
            Some((number, all)) => format!("{number}/{all} {}", self.text),
            None => self.text.clone(),
        }
    }
}

impl Output {
    /// The lines that are whole now.
    fn add(&mut self, text: &str) -> Vec<String> {
        self.rest.push_str(text);
        let Some(end) = self.rest.rfind('\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let whole: Vec<_> = std::mem::replace(&mut self.rest, rest)
            .lines()
            // A line that was written over itself: the last version counts.
            .map(|line| clean(line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default()))
            .filter(|line| !line.is_empty())
            .collect();
        for line in &whole {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(line.clone());
        }
        whole
    }

    fn last(&self) -> Vec<String> {
        let rest = Some(clean(&self.rest)).filter(|rest| !rest.is_empty());
        let lines: Vec<_> = self.lines.iter().cloned().chain(rest).collect();
        lines[lines.len().saturating_sub(KEPT)..].to_vec()
    }
}

/// `[2/4] RUN make`, `[build 2/4] RUN make`; other names are steps without a number.
fn named(name: &str) -> Step {
    let split = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    if let Some((inside, what)) = split {
        let (stage, number) = inside.rsplit_once(' ').map_or((None, inside), |(stage, number)| (Some(stage), number));
        if let Some(number) = numbers(number.trim()) {
            // Stages without a name are called so.
            let stage = stage.map(str::trim).filter(|stage| !stage.starts_with("stage-"));
            let what = clean(what);
            let text = stage.map_or(what.clone(), |stage| format!("{}: {what}", clean(stage)));
            return Step { number: Some(number), text };
        }
    }
    Step { number: None, text: clean(name) }
}

fn numbers(text: &str) -> Option<(u32, u32)> {
    let (number, all) = text.split_once('/')?;
    Some((number.trim().parse().ok()?, all.trim().parse().ok()?))
}

fn share(done: i64, all: i64) -> Option<u8> {
    if all <= 0 || done < 0 {
        return None;
    }
    u8::try_from(done.min(all).saturating_mul(100) / all).ok()
}

/// One line that can be shown.
fn clean(text: &str) -> String {
    let text = tidy(text.as_bytes());
    let text = text.trim();
    if text.chars().count() <= WIDEST {
        return text.replace(['\n', '\t'], " ");
    }
    text.chars().take(WIDEST).chain(['…']).collect::<String>().replace(['\n', '\t'], " ")
}

/// BuildKit's words for what it cannot do without a session help nobody.
fn hinted(why: String) -> String {
    if why.contains("no active session") {
        return format!(
            "{why} (an image that the Dockerfile names is not on this engine: `docker pull` it first; \
             `RUN --mount=type=secret` and `type=ssh` are not supported)"
        );
    }
    why
}

/// A failure in full.
pub(super) fn tell(step: Option<&str>, why: &str, output: &[String]) -> String {
    let mut text = step.map_or_else(|| why.to_owned(), |step| format!("step {step}: {why}"));
    if !output.is_empty() {
        text.push_str("\nthe last lines of its output:");
        for line in output {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Moment, VertexLog, VertexStatus};
    use super::*;
    use prost::Message as _;

    fn line(text: serde_json::Value) -> Message {
        serde_json::from_value(text).unwrap()
    }

    fn trace(status: &Status) -> Message {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(status.encode_to_vec());
        line(serde_json::json!({ "id": "moby.buildkit.trace", "aux": text }))
    }

    fn at(seconds: i64) -> Moment {
        Moment { seconds, nanos: 0 }
    }

    fn vertex(name: &str) -> Vertex {
        Vertex { digest: name.to_owned(), name: name.to_owned(), ..Default::default() }
    }

    fn of(vertexes: Vec<Vertex>) -> Message {
        trace(&Status { vertexes, ..Default::default() })
    }

    fn told(messages: Vec<Message>) -> (Vec<String>, Result<String, BuildError>) {
        let (mut story, mut heard) = (Story::default(), Vec::new());
        for message in messages {
            story.hear(message, &mut |news| {
                let step = news.step.map_or_else(String::new, |(number, all)| format!("{number}/{all} "));
                let percent = news.percent.map_or_else(String::new, |percent| format!(" {percent}%"));
                heard.push(format!("{:?} {step}{}{percent}", news.kind, news.text));
            });
        }
        (heard, story.end())
    }

    #[test]
    fn the_older_builder() {
        let stream = |text: &str| line(serde_json::json!({ "stream": text }));
        let (heard, end) = told(vec![
            stream("Step 1/2 : FROM a"),
            stream("\n"),
            stream(" ---> abc\n"),
            stream("Step 2/2 : RUN make"),
            stream(" ---> Running in 1\n"),
            stream("one\ntw"),
            stream("o\n"),
            line(serde_json::json!({ "aux": { "ID": "sha256:1" } })),
            stream("Successfully built 1\n"),
        ]);
        assert_eq!(
            heard,
            [
                "Begin 1/2 FROM a 0%",
                "Begin 2/2 RUN make 50%",
                "Output 2/2 one",
                "Output 2/2 two",
                "Output 2/2 Successfully built 1"
            ]
        );
        assert_eq!(end.unwrap(), "sha256:1");

        let many: String = (0..30).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
        let error =
            serde_json::json!({ "errorDetail": { "code": 3, "message": "m" }, "error": "returned a non-zero code: 3" });
        let (_, end) = told(vec![stream("Step 2/2 : RUN make"), stream(&many), line(error)]);
        let BuildError::Failed { step, why, output } = end.unwrap_err() else { panic!() };
        assert_eq!((step.as_deref(), why.as_str()), (Some("2/2 RUN make"), "returned a non-zero code: 3"));
        assert_eq!((output.len(), output[0].as_str(), output[19].as_str()), (20, "line 10", "line 29"));
    }

    #[test]
    fn buildkit() {
        let own = Vertex { started: Some(at(1)), ..vertex("[internal] load remote build context") };
        let cached = Vertex { cached: true, started: Some(at(1)), completed: Some(at(1)), ..vertex("[1/3] FROM a") };
        let run = Vertex { started: Some(at(2)), ..vertex("[build 2/3] RUN make\nmore") };
        let log = |msg: &str| {
            let log = VertexLog { vertex: run.digest.clone(), msg: msg.as_bytes().to_vec() };
            trace(&Status { logs: vec![log], ..Default::default() })
        };
        let moved = VertexStatus { id: "layer".to_owned(), vertex: run.digest.clone(), current: 1, total: 4 };
        let messages = vec![
            of(vec![own, vertex("[1/3] FROM a"), vertex("[stage-1 3/3] USER runner")]),
            of(vec![cached, run.clone()]),
            of(vec![run.clone()]),
            log("10%\r20%\rpa"),
            log("rt\n\x1b[31mred\x1b[0m\n"),
            trace(&Status { statuses: vec![moved], ..Default::default() }),
            of(vec![Vertex { completed: Some(at(5)), ..run.clone() }]),
            line(serde_json::json!({ "id": "moby.image.id", "aux": { "ID": "sha256:2" } })),
        ];
        let (heard, end) = told(messages);
        assert_eq!(
            heard,
            [
                "Done 1/3 FROM a (cached) 50%",
                "Begin 2/3 build: RUN make 33%",
                "Output 2/3 part",
                "Output 2/3 red",
                "Progress 2/3 layer 25%",
                "Done 2/3 done (3.0 s) 66%",
            ]
        );
        assert_eq!(end.unwrap(), "sha256:2");
    }

    #[test]
    fn buildkit_names_the_step_that_failed() {
        let run = Vertex { started: Some(at(2)), ..vertex("[2/3] RUN make") };
        let log = VertexLog { vertex: run.digest.clone(), msg: b"no rule, token ghs_16C7e42F292c6912E7".to_vec() };
        let (_, end) = told(vec![
            of(vec![vertex("[1/3] FROM a"), run.clone()]),
            trace(&Status { logs: vec![log], ..Default::default() }),
            of(vec![Vertex { completed: Some(at(3)), error: "exit code: 2".to_owned(), ..run }]),
            line(serde_json::json!({ "error": "executor failed running [make]: exit code: 2" })),
        ]);
        assert_eq!(
            end.unwrap_err().to_string(),
            "step 2/3 RUN make: executor failed running [make]: exit code: 2\nthe last lines of its output:\n  no rule, token [cut]"
        );
        let (_, end) = told(Vec::new());
        assert!(end.unwrap_err().to_string().contains("without an image"));
    }
}
