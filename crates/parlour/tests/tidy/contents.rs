//! What no file may contain, and how long it may be.

use crate::repo;

/// The RFCs that are cited; a number outside this list is taken for a slip of the pen.
const RFCS: &[u32] = &[
    1035, 1847, 1951, 2017, 2045, 2046, 2047, 2069, 2119, 2183, 2231, 2387, 2392, 2396, 2543, 2617, 2781,
    2782, 3261, 3262, 3263, 3264, 3265, 3310, 3311, 3312, 3313, 3323, 3325, 3326, 3327, 3329, 3339, 3388,
    3403, 3420, 3428, 3455, 3515, 3581, 3608, 3629, 3665, 3680, 3696, 3711, 3725, 3840, 3841, 3842, 3849,
    3856, 3857, 3858, 3860, 3862, 3863, 3891, 3892, 3903, 3911, 3920, 3921, 3966, 3986, 3994, 4028, 4032,
    4117, 4119, 4122, 4123, 4145, 4169, 4235, 4317, 4320, 4321, 4353, 4354, 4412, 4474, 4475, 4483, 4488,
    4538, 4566, 4567, 4568, 4572, 4575, 4579, 4648, 4662, 4825, 4826, 4916, 4961, 4975, 4976, 5009, 5079,
    5118, 5234, 5246, 5280, 5318, 5322, 5360, 5361, 5363, 5364, 5365, 5366, 5367, 5368, 5393, 5411, 5438,
    5480, 5491, 5502, 5547, 5589, 5621, 5626, 5627, 5628, 5629, 5630, 5652, 5658, 5688, 5737, 5758, 5763,
    5839, 5853, 5870, 5876, 5922, 5923, 5939, 5952, 5954, 6026, 6050, 6072, 6086, 6125, 6135, 6141, 6157,
    6223, 6228, 6298, 6335, 6337, 6350, 6432, 6442, 6455, 6468, 6501, 6544, 6665, 6714, 6724, 6809, 6874,
    6914, 7044, 7090, 7106, 7118, 7135, 7255, 7315, 7316, 7329, 7340, 7403, 7462, 7463, 7515, 7549, 7551,
    7616, 7647, 7692, 7700, 7701, 7976, 7977, 8017, 8119, 8122, 8141, 8147, 8174, 8197, 8224, 8225, 8259,
    8266, 8305, 8445, 8446, 8489, 8591, 8599, 8688, 8760, 8839, 8841, 8858, 8866, 8873, 8898, 8946, 9110,
];

/// The most lines that a source file may have; flows are tests, and grouped by topic however many there are.
const LINES: usize = 700;

#[test]
fn cited_rfcs_are_known() {
    let mut faults = Vec::new();
    for file in repo::texts("crates").into_iter().chain(repo::texts("docs")).chain(repo::texts("fuzz")) {
        for (index, line) in file.text.lines().enumerate() {
            for number in cited(line).filter(|number| !RFCS.contains(number)) {
                faults.push(format!("{}:{}: RFC {number}", file.path, index + 1));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "add these to the list in this file if they are meant:\n{}",
        faults.join("\n")
    );
}

#[test]
fn no_unsafe_code() {
    let word = concat!("un", "safe");
    for file in repo::rust("crates").into_iter().chain(repo::rust("fuzz")) {
        for (number, line) in repo::code_lines(&file.text) {
            let found = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word);
            assert!(!found, "{}:{number}: {line}", file.path);
        }
    }
}

#[test]
fn no_path_of_somebody_s_machine() {
    let paths =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("../sha", "red/")];
    let mut faults = Vec::new();
    for file in repo::texts("").into_iter().filter(|file| file.path != "Cargo.lock") {
        for (index, line) in file.text.lines().enumerate() {
            for path in paths.iter().filter(|path| line.contains(**path)) {
                faults.push(format!("{}:{}: {path}", file.path, index + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn source_files_stay_short() {
    let long: Vec<_> = repo::rust("crates")
        .into_iter()
        .filter(|file| file.path.contains("/src/") && !file.path.contains("/src/flows/"))
        .map(|file| (file.text.lines().count(), file.path))
        .filter(|(lines, _)| *lines > LINES)
        .collect();
    assert!(long.is_empty(), "split these, one verb a file: {long:?}");
}

#[test]
fn a_test_left_out_says_why() {
    for file in repo::rust("crates") {
        for (index, line) in file.text.lines().enumerate() {
            let line = line.trim();
            let Some(rest) = line.strip_prefix("#[ignore") else { continue };
            assert!(
                rest.contains("run ./check"),
                "{}:{}: say `needs ...: run ./check`",
                file.path,
                index + 1
            );
        }
    }
}

/// The numbers that follow the letters RFC in a line.
fn cited(line: &str) -> impl Iterator<Item = u32> {
    line.split("RFC").skip(1).filter_map(|rest| {
        let digits: String =
            rest.trim_start_matches([' ', '-']).chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}
