//! `--list`: what there is, and what of it can be had on this host.

use harness::{
    engine::{ENGINES, EngineEntry, Judged},
    matrix::{Class, HOST, ORACLES, host_modes},
};
use serde::Serialize;

use super::json::{self, Host};
use crate::failure::Failure;

/// What the host's processor is as an engine.
const HOST_ABOUT: &str = "this computer's own processor, for the rows that a program can run";

/// Something that can be chosen.
#[derive(Serialize)]
struct Choice {
    name: &'static str,
    about: &'static str,
    available: bool,
    /// Where, or why not.
    reason: String,
}

impl Choice {
    fn new(name: &'static str, about: &'static str, availability: Result<String, String>) -> Self {
        let available = availability.is_ok();
        Self { name, about, available, reason: availability.unwrap_or_else(|reason| reason) }
    }
}

#[derive(Serialize)]
struct Document {
    version: u32,
    host: Host,
    classes: Vec<&'static str>,
    engines: Vec<Choice>,
    oracles: Vec<Choice>,
}

fn engines() -> Vec<Choice> {
    let built = |entry: &EngineEntry| {
        let place = match entry.judged {
            Judged::InSteps => "on any host",
            Judged::Running => "through this host's KVM, for rows alone",
        };
        (entry.make)().map(|_| place.to_owned())
    };
    let mut list: Vec<_> = ENGINES.iter().map(|entry| Choice::new(entry.name, entry.about, built(entry))).collect();
    list.push(Choice::new(HOST, HOST_ABOUT, host_modes()));
    list
}

fn oracles() -> Vec<Choice> {
    ORACLES.iter().map(|oracle| Choice::new(oracle.name, oracle.about, oracle.availability())).collect()
}

/// For people.
pub fn text() -> String {
    let mut text = String::from("Classes:\n ");
    let mut width = 1;
    for class in Class::all() {
        if width + class.name().len() > 110 {
            text += "\n ";
            width = 1;
        }
        width += class.name().len() + 1;
        text += " ";
        text += class.name();
    }
    text += "\n";
    for (head, list) in [("Engines", engines()), ("Oracles", oracles())] {
        text += &format!("\n{head}:\n");
        for Choice { name, about, available, reason } in list {
            let state = if available { "available" } else { "skipped" };
            text += &format!("  {name:<10} {about}\n  {:<10} {state}: {reason}\n", "");
        }
    }
    text
}

/// For programs.
pub fn json() -> Result<String, Failure> {
    json::print(&Document {
        version: json::VERSION,
        host: Host::this(),
        classes: Class::all().map(Class::name).collect(),
        engines: engines(),
        oracles: oracles(),
    })
}
