//! The layers as `lib.rs` lists them: nothing imports upward, SQL stays in `store/`, lower layers know no framework.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every module's layer, read from the groups in `lib.rs`.
fn layers() -> HashMap<String, usize> {
    let text = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let (mut layer, mut found) = (None, HashMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("// Layer ") {
            layer = rest.split(':').next().and_then(|number| number.parse().ok());
        } else if let Some(module) = line.strip_prefix("pub mod ") {
            found.insert(module.trim_end_matches(';').to_owned(), layer.expect("a module stands before the first layer"));
        }
    }
    found
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(source()).unwrap().to_string_lossy().into_owned();
        let module = name.split(['/', '.']).next().unwrap().to_owned();
        (name, module, std::fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(read).collect()
}

/// The code above a file's own tests, without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules named behind `crate::`, also inside braces.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + 7..];
        let names = rest.strip_prefix('{').map_or(rest, |inner| inner.split('}').next().unwrap());
        let count = if rest.starts_with('{') { usize::MAX } else { 1 };
        for name in names.split(',').take(count) {
            let name: String = name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn no_module_imports_from_a_higher_layer() {
    let layers = layers();
    assert!(layers.len() >= 15 && layers["error"] == 0 && layers["cli"] == 8, "{layers:?}");
    let mut upward = Vec::new();
    for (name, module, text) in all().into_iter().filter(|(_, module, _)| module != "lib" && module != "main") {
        let own = *layers.get(&module).unwrap_or_else(|| panic!("`{module}` is in no layer of lib.rs"));
        for import in imports(&code(&text)) {
            let Some(other) = layers.get(&import) else { continue };
            if *other > own || (*other == own && import != module && own >= 5) {
                upward.push(format!("{name} (layer {own}) imports {import} (layer {other})"));
            }
        }
    }
    // The routes and the configuration share a layer, and only that way round.
    upward.retain(|line| !line.contains("imports config"));
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn sql_stays_in_the_store_and_frameworks_in_the_upper_layers() {
    let layers = layers();
    let sql = ["SELECT ", "INSERT INTO", "INSERT OR", "UPDATE ", "DELETE FROM", "PRAGMA ", "rusqlite"];
    for (name, module, text) in all() {
        let code = code(&text);
        if module != "store" {
            for word in sql {
                assert!(!code.contains(word), "{name} holds `{word}`");
            }
        }
        if layers.get(&module).is_some_and(|layer| *layer <= 3) {
            for word in ["actix", "rusqlite", "tokio"] {
                assert!(!code.contains(word), "{name} names {word}");
            }
        }
    }
}

#[test]
fn what_needs_no_permit_is_called_from_the_known_places_only() {
    let known = [
        "authn/key_file.rs",
        "service/access.rs",
        "service/cold.rs",
        "service/current.rs",
        "service/login.rs",
        "service/memory.rs",
        "service/mod.rs",
        "store/mod.rs",
    ];
    let mut callers = Vec::new();
    for (name, _, text) in all() {
        let code = code(&text);
        if code.contains(".housekeeping(") || code.contains(".snapshot(") {
            callers.push(name);
        }
    }
    assert_eq!(callers, known, "a new place reads or writes without a permit; add it here on purpose or ask for one");
    for (name, _, text) in all() {
        let makes = code(&text).contains("Permit(())");
        assert!(!makes || name == "policy/evaluate.rs", "{name} makes a permit");
    }
}

#[test]
fn files_are_of_a_length_that_is_one_subject() {
    for (name, _, text) in all() {
        let lines = text.lines().count();
        if lines > 500 {
            println!("{name}: {lines} lines");
        }
        assert!(lines <= 800, "{name} has {lines} lines");
        assert!(text.starts_with("//!"), "{name} does not say what it is for");
    }
}

/// The files and folders named in backticks after each `Next:` at the head of a file.
fn pointers(text: &str) -> Vec<String> {
    let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let head = head.join(" ");
    let is_path = |word: &str| {
        (word.ends_with(".rs") || word.ends_with('/')) && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
    };
    let after = head.split("Next:").skip(1);
    after.flat_map(|part| part.split('`').skip(1).step_by(2)).filter(|word| is_path(word)).map(str::to_owned).collect()
}

#[test]
fn every_file_says_truly_where_to_go_next() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (tests, mut found) = (root.join("tests/it"), Vec::new());
    files(&source(), &mut found);
    files(&tests, &mut found);
    let mut wrong = Vec::new();
    for path in &found {
        for pointer in pointers(&std::fs::read_to_string(path).unwrap()) {
            let from = [path.parent().unwrap(), &source(), &tests, root];
            if !from.iter().any(|folder| folder.join(&pointer).exists()) {
                wrong.push(format!("{}: `{pointer}`", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(found.len() > 100 && wrong.is_empty(), "{}", wrong.join("\n"));
}
