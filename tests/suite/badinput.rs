//! Wrong input of every kind, to both plugins: an error that a person can act upon, and nothing touched.

mod configuration;
mod documents;
mod environment;
mod files;
mod keys;
mod lists;
mod quantities;
mod ranges;
mod unknown_keys;

use serde_json::{Map, Value, json};
use support::{Outcome, Plugin, Workbench};

const PLUGINS: [Plugin; 2] = [Plugin::HostLocal, Plugin::NodeLocal];

/// How much a whole answer may be, whatever was sent.
const LONGEST_ANSWER: usize = 4096;

/// How much of a wrong value an error must repeat at least.
const REPEATED: usize = 60;

/// A plugin with scratch places that it has not touched yet.
fn bench(plugin: Plugin) -> Workbench {
    match plugin {
        Plugin::HostLocal => Workbench::new(plugin, "bad"),
        Plugin::NodeLocal => Workbench::on_node(2, "bad"),
    }
}

/// A configuration that both plugins accept.
fn good(bench: &Workbench) -> Value {
    bench.config(json!({"ranges": [[{"subnet": "10.1.2.0/24"}]]}))
}

/// Sets what a JSON pointer names; objects and lists on the way are made.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut at = document;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/");
        at = match step.parse::<usize>() {
            Ok(index) => {
                if !at.is_array() {
                    *at = json!([]);
                }
                let list = at.as_array_mut().expect("a list was put here");
                if list.len() <= index {
                    list.resize(index + 1, Value::Null);
                }
                &mut list[index]
            }
            Err(_) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut()
                    .expect("an object was put here")
                    .entry(step)
                    .or_insert(Value::Null)
            }
        };
    }
    *at = value;
}

/// The path by which an error names what a JSON pointer names.
fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        match step.parse::<usize>() {
            Ok(index) => path.push_str(&format!("[{index}]")),
            Err(_) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&step.replace("~1", "/"));
            }
        }
    }
    path
}

/// What an error is expected to say.
#[derive(Clone, Debug)]
struct Expected {
    code: u64,
    /// The path of the wrong value.
    path: String,
    /// The value, in one of these spellings.
    value: Vec<String>,
}

impl Expected {
    /// Code 7, with this path and value.
    fn new(path: &str, value: &Value) -> Self {
        let mut spellings = vec![start(&value.to_string())];
        if let Some(text) = value.as_str() {
            spellings.push(start(text));
            spellings.push(start(&text.escape_debug().to_string()));
        }
        Self { code: 7, path: path.to_owned(), value: spellings }
    }

    /// What is wrong with an answer, sentence by sentence.
    fn complaints(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = complaints_about_form(outcome);
        let Ok(error) = serde_json::from_str::<Value>(&outcome.stdout) else { return wrong };
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        let both = format!("{}\n{}", text("msg"), text("details"));
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(
            error["code"] == self.code,
            format!("code {} instead of {}", error["code"], self.code),
        );
        must(both.contains(&self.path), format!("{} is not named", self.path));
        must(
            self.value.iter().any(|spelling| both.contains(spelling)),
            format!("the value {:?} is not repeated", self.value[0]),
        );
        must(!text("details").is_empty(), "no details say what would be right".to_owned());
        wrong
    }
}

/// The start of a text, at most as long as an error repeats it.
fn start(text: &str) -> String {
    text.chars().take(REPEATED).collect()
}

/// What is wrong with the form of a CNI error.
fn complaints_about_form(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    must(outcome.exit == Some(1), "the exit status is not 1");
    must(outcome.stdout.len() <= LONGEST_ANSWER, "the answer is endless");
    must(outcome.stderr.len() <= LONGEST_ANSWER, "standard error is endless");
    let error = error_of(outcome);
    must(error["cniVersion"].is_string(), "no cniVersion");
    let message = error["msg"].as_str().unwrap_or_default();
    must(!message.is_empty(), "no msg");
    must(!message.contains(char::is_control), "msg has control characters");
    // ".." is an interface name, "..." a cut.
    must(!message.ends_with('.') || message.ends_with(".."), "msg ends like a paragraph");
    must(!message.contains("panic") && error["code"] != 999, "a defect");
    must(!outcome.stderr.contains("panicked"), "a panic");
    wrong
}

/// The same, and about its code.
fn complaints_about_code(outcome: &Outcome, code: u64) -> Vec<String> {
    let mut wrong = complaints_about_form(outcome);
    let found = error_of(outcome)["code"].clone();
    if found != code {
        wrong.push(format!("code {found} instead of {code}"));
    }
    wrong
}

/// The error that a call answered; null if it is none.
fn error_of(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_default()
}

/// Collects what is wrong over a whole table, to tell it all at once.
#[derive(Default)]
struct Report {
    rows: usize,
    complaints: Vec<String>,
}

impl Report {
    fn row(&mut self, what: &str, wrong: impl IntoIterator<Item = String>, outcome: &Outcome) {
        self.rows += 1;
        let wrong: Vec<String> = wrong.into_iter().collect();
        if !wrong.is_empty() {
            let what: String = what.chars().take(200).collect();
            let answer: String = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
            let answer: String = answer.chars().take(400).collect();
            self.complaints.push(format!("{what}: {}\n      {answer}", wrong.join("; ")));
        }
    }

    /// A call that must be refused like this, and touch nothing.
    fn refused(&mut self, what: &str, outcome: &Outcome, expected: &Expected, bench: &Workbench) {
        let wrong = expected.complaints(outcome).into_iter().chain(touched(bench));
        self.row(what, wrong, outcome);
    }

    /// A call that must succeed, and touch nothing: a DEL of what is not there.
    fn deleted(&mut self, what: &str, outcome: &Outcome, bench: &Workbench) {
        let failed = (outcome.exit != Some(0)).then(|| "fails".to_owned());
        self.row(what, failed.into_iter().chain(touched(bench)), outcome);
    }

    /// Panics if there was anything to complain about.
    fn done(self) {
        assert!(self.rows > 0, "nothing was tried");
        let (complaints, rows) = (self.complaints.len(), self.rows);
        assert!(
            self.complaints.is_empty(),
            "{complaints} of {rows} rows:\n  {}",
            self.complaints.join("\n  ")
        );
    }
}

/// A complaint for each place that was touched.
fn touched(bench: &Workbench) -> Vec<String> {
    [bench.data(), bench.state(), bench.run_dir()]
        .iter()
        .filter(|place| place.exists())
        .map(|place| format!("{} was made", place.display()))
        .collect()
}
