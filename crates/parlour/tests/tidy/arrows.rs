//! The direction of dependencies between crates and between the modules of parlour-proto, and the purity of the
//! protocol crates.

use std::fs;

use crate::repo;

/// What each crate may name of ours in its `[dependencies]`.
const CRATES: [(&str, &[&str]); 5] = [
    ("parlour-msrp", &[]),
    ("parlour-proto", &["parlour-msrp"]),
    ("parlour-sim", &["parlour-msrp", "parlour-proto"]),
    ("parlour-conformance", &["parlour-msrp", "parlour-proto", "parlour-sim"]),
    ("parlour", &["parlour-msrp", "parlour-proto", "parlour-sim", "parlour-conformance"]),
];

/// The crates without effects.
const PURE: [&str; 4] = ["parlour-msrp", "parlour-proto", "parlour-sim", "parlour-conformance"];

/// Libraries that bring effects.
const EFFECTS: [&str; 9] =
    ["tokio", "mio", "socket2", "getrandom", "rusqlite", "rustls", "tokio-rustls", "tracing", "rand"];

/// The one driver that a pure crate brings: its module is behind the feature of this name, which nobody gets unasked.
const DRIVER: (&str, &str) = ("parlour-msrp", "tokio");

/// What each module of parlour-proto may not name.
const MODULES: [(&str, &[&str]); 4] = [
    ("sip", &["sdp", "mime", "im", "client"]),
    ("sdp", &["sip", "mime", "im", "client"]),
    ("mime", &["sip", "sdp", "im", "client"]),
    ("im", &["client"]),
];

/// What the code of a pure crate may not say; `clippy.toml` says the same to clippy, which sees through imports.
const IMPURE: [&str; 19] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "thread_local!",
    "static mut",
    "Mutex",
    "RwLock",
    "OnceLock",
    "LazyLock",
    "RandomState",
    "async fn",
    ".await",
    "println!",
];

#[test]
fn crates_depend_in_one_direction() {
    for (name, allowed) in CRATES {
        let ours: Vec<_> =
            dependencies(name).into_iter().filter(|dependency| dependency.starts_with("parlour")).collect();
        let wrong: Vec<_> =
            ours.iter().filter(|dependency| !allowed.contains(&dependency.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn pure_crates_depend_on_no_effects() {
    for name in PURE {
        let wrong: Vec<_> = dependencies(name)
            .into_iter()
            .filter(|dependency| EFFECTS.contains(&dependency.as_str()))
            .filter(|dependency| (name, dependency.as_str()) != DRIVER)
            .collect();
        assert!(wrong.is_empty(), "{name} is pure and must not depend on {wrong:?}");
    }
}

#[test]
fn the_driver_of_a_pure_crate_is_behind_its_feature() {
    let (name, feature) = DRIVER;
    let table = manifest(name);
    assert_eq!(table["dependencies"][feature]["optional"].as_bool(), Some(true));
    assert_eq!(table["features"][feature].as_array().map(Vec::len), Some(1), "it brings nothing else");
    assert!(table["features"].get("default").is_none(), "{name} has no features unless asked");
    let lib = fs::read_to_string(repo::root().join(format!("crates/{name}/src/lib.rs"))).expect("lib.rs");
    let gate = format!("#[cfg(feature = \"{feature}\")]\npub mod {feature};\n");
    assert_eq!(lib.matches(&gate).count(), 1, "the module is behind the feature");
    assert_eq!(lib.matches(&format!("mod {feature};")).count(), 1);
    for file in repo::rust(&format!("crates/{name}/src")).into_iter().filter(|file| !is_driver(&file.path)) {
        assert!(!file.text.contains("crate::tokio"), "{}: nothing else may need the driver", file.path);
    }
}

#[test]
fn pure_crates_name_no_effects() {
    let mut faults = Vec::new();
    for name in PURE {
        for file in
            repo::rust(&format!("crates/{name}/src")).into_iter().filter(|file| !is_driver(&file.path))
        {
            for (number, line) in repo::code_lines(&file.text) {
                // Who watches a flow is no argument of it.
                let watcher = |word: &str| {
                    word == "thread_local!" && file.path == "crates/parlour-conformance/src/stage.rs"
                };
                for word in IMPURE.iter().filter(|word| says(line, word) && !watcher(word)) {
                    faults.push(format!("{}:{number}: {word}", file.path));
                }
                let map = line.contains("HashMap") || line.contains("HashSet");
                if map && file.path != "crates/parlour-msrp/src/table.rs" {
                    faults.push(format!("{}:{number}: a hash map (use Table or BTreeMap)", file.path));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn modules_of_proto_point_downwards() {
    let mut faults = Vec::new();
    for (module, forbidden) in MODULES {
        let mut files = repo::rust(&format!("crates/parlour-proto/src/{module}"));
        files.extend(
            repo::rust("crates/parlour-proto/src")
                .into_iter()
                .filter(|file| file.path.ends_with(&format!("src/{module}.rs"))),
        );
        for file in files {
            let code: String = repo::code_lines(&file.text).map(|(_, line)| line.trim()).collect();
            for named in named_modules(&code).filter(|named| forbidden.contains(&named.as_str())) {
                faults.push(format!("{} names {named}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn grouped_imports_are_seen() {
    let code =
        "use crate::sip::Message;use crate::{io::{self, FlowId}, sdp, mime::cpim};let a = crate::im::f();";
    assert_eq!(named_modules(code).collect::<Vec<_>>(), ["sip", "io", "sdp", "mime", "im"]);
}

#[test]
fn every_crate_keeps_the_lints_of_the_house() {
    let root = fs::read_to_string(repo::root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(root.contains("unsafe_code = \"forbid\""), "the workspace must forbid it");
    let manifests: Vec<_> =
        repo::texts("crates").into_iter().filter(|file| file.path.ends_with("Cargo.toml")).collect();
    assert!(manifests.len() >= CRATES.len(), "every crate was found");
    for manifest in manifests {
        let table: toml::Table = manifest.text.parse().expect("a manifest");
        let kept = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(kept, Some(true), "{}: [lints] workspace = true", manifest.path);
    }
}

/// Whether a file belongs to [`DRIVER`].
fn is_driver(path: &str) -> bool {
    let (name, feature) = DRIVER;
    let module = format!("crates/{name}/src/{feature}");
    path == format!("{module}.rs") || path.starts_with(&format!("{module}/"))
}

/// Whether a line of code contains a word that does not go on.
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[at + word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}

/// The names under `[dependencies]` of a crate, without those for its tests.
fn dependencies(name: &str) -> Vec<String> {
    let table = manifest(name);
    let Some(toml::Value::Table(dependencies)) = table.get("dependencies") else { return Vec::new() };
    dependencies.keys().cloned().collect()
}

fn manifest(name: &str) -> toml::Table {
    let path = repo::root().join(format!("crates/{name}/Cargo.toml"));
    fs::read_to_string(path).expect("a manifest").parse().expect("a manifest")
}

/// The top-level modules of its crate that a text of code names, groups in braces included.
fn named_modules(code: &str) -> impl Iterator<Item = String> {
    code.split("crate::").skip(1).flat_map(|rest| {
        let word = |text: &str| {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
        let mut depth = 0_i32;
        let mut parts = vec![String::new()];
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => parts.push(String::new()),
                _ => {
                    if let Some(part) = parts.last_mut() {
                        part.push(c);
                    }
                }
            }
        }
        parts.iter().map(|part| word(part)).filter(|part| !part.is_empty()).collect()
    })
}
