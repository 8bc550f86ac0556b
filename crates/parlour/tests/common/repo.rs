//! The repository as files: where it is and what it holds.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("invariant: the crate lies two folders below the root").to_owned()
}

/// A text file of the repository.
pub(crate) struct Text {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

/// All text files below `folder` (a path from the root, "" for all), in order of their paths. Builds, fuzz corpora and
/// what git keeps are left out.
pub(crate) fn texts(folder: &str) -> Vec<Text> {
    let root = root();
    let mut found = Vec::new();
    let mut waiting = vec![root.join(folder)];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if matches!(name.as_str(), ".git" | "target" | "corpus" | "artifacts" | "coverage") {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).expect("invariant: found below the root");
                found.push(Text { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The Rust files among [`texts`].
pub(crate) fn rust(folder: &str) -> Vec<Text> {
    texts(folder).into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// The lines that are code: without comment lines, line comments and the unit tests at the end of the file.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split_once("// ").map_or(line, |(code, _)| code)))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}
