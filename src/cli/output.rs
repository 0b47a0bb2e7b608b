//! Words to the terminal: lines, aligned tables, JSON, progress bars, errors.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::error::Error;

/// A line on standard output. A reader that went away is not an error.
pub(super) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line on standard error: for people, never for scripts.
pub(super) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A refusal.
pub(super) fn fail(error: &Error, as_json: bool) {
    if as_json {
        note(json!({ "error": { "message": error.message() } }));
    } else {
        note(format_args!("error: {}", error.message()));
    }
}

/// JSON, for people and scripts alike.
pub(super) fn value(value: &Value) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => line(text),
        Err(_) => line(value),
    }
}

/// What is printed of a change that has no result: nothing, or an empty object for scripts.
pub(super) fn done(as_json: bool) {
    if as_json {
        value(&json!({}));
    }
}

/// Rows under a head, columns as wide as they need.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        line(text.trim_end());
    };
    print(&mut head.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// A bar over `bytes` on standard error, or nothing when that is no terminal.
pub(super) fn progress(bytes: u64, message: &'static str) -> ProgressBar {
    bar(bytes, message, "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// A bar over so many steps, likewise.
pub(super) fn steps(count: u64, message: &'static str) -> ProgressBar {
    bar(count, message, "{msg} {bar:30} {pos}/{len} {eta}")
}

fn bar(length: u64, message: &'static str, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length).with_message(message);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Runs `work` with a bar it moves: what is done and all there is, in bytes.
pub(super) fn with_progress<T>(message: &'static str, work: impl FnOnce(&(dyn Fn(u64, u64) + Sync)) -> T) -> T {
    let bar = progress(0, message);
    let done = work(&|done, all| {
        bar.set_length(all);
        bar.set_position(done.min(all));
    });
    bar.finish_and_clear();
    done
}
