//! Names that peers give to files, made harmless; and which files are programs.

use std::path::Path;

/// The longest name, octets: with a number behind it, it fits every file system.
const LONGEST: usize = 200;
/// The longest ending that is kept when a name is cut, octets.
const LONGEST_ENDING: usize = 20;

/// A name under which a file may lie in a directory of ours: one component, without anything that a file system, a
/// terminal or a shell could take for something else.
//= IM D-44
//= IM X-30
pub(crate) fn safe(name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    // Of a path the last part counts, whichever system it is of.
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|letter| !is_hidden(*letter)).map(plain).collect();
    // Dots make files hidden, or parents; some systems drop spaces and dots at the end.
    let trimmed = clean.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    let mut safe = cut(trimmed);
    if safe.is_empty() {
        safe.push_str("file");
    }
    // A name that begins with a dash is an option to many programs.
    if safe.starts_with('-') || is_device(&safe) {
        safe.insert(0, '_');
    }
    safe
}

/// Letters that cannot be seen, or turn the order of others around: they make one name look like another.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Letters with a meaning to some file system.
fn plain(letter: char) -> char {
    match letter {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
        letter if letter.is_whitespace() => ' ',
        letter => letter,
    }
}

fn cut(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let ending = name.rfind('.').map(|dot| name.get(dot..).unwrap_or_default()).unwrap_or_default();
    let ending = if ending.len() <= LONGEST_ENDING { ending } else { "" };
    let mut end = LONGEST.saturating_sub(ending.len());
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{}{ending}", name.get(..end).unwrap_or_default())
}

/// Names that are devices where Windows reads the disk.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest: &str| {
            matches!(rest.chars().collect::<Vec<_>>()[..], [digit] if digit.is_ascii_digit() || "¹²³".contains(digit))
        })
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
}

/// The same name with a number, for the second file that is called so, and so on.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    match name.rfind('.').filter(|dot| *dot > 0) {
        Some(dot) => {
            let (stem, ending) = name.split_at(dot);
            format!("{stem} ({number}){ending}")
        }
        None => format!("{name} ({number})"),
    }
}

const PROGRAM_ENDINGS: &[&str] = &[
    "apk", "app", "appimage", "bash", "bat", "bin", "cmd", "com", "command", "cpl", "deb", "desktop", "dll",
    "dylib", "elf", "exe", "gadget", "hta", "jar", "js", "jse", "ksh", "lnk", "msi", "msp", "mst", "pif",
    "pl", "ps1", "psm1", "py", "rb", "reg", "rpm", "run", "scr", "sh", "so", "url", "vb", "vbe", "vbs", "ws",
    "wsf", "wsh", "zsh",
];

const PROGRAM_TYPES: &[&str] = &[
    "application/java-archive",
    "application/vnd.microsoft.portable-executable",
    "application/vnd.android.package-archive",
    "application/x-bat",
    "application/x-csh",
    "application/x-desktop",
    "application/x-elf",
    "application/x-executable",
    "application/x-mach-binary",
    "application/x-ms-installer",
    "application/x-msdos-program",
    "application/x-msdownload",
    "application/x-perl",
    "application/x-python",
    "application/x-sh",
    "application/x-sharedlib",
    "application/x-shellscript",
    "text/x-python",
    "text/x-shellscript",
];

/// Whether a file is, or says that it is, a program: by its name, its type, or its first octets.
//= IM X-30
pub(crate) fn is_program(name: &str, content_type: Option<&str>, head: &[u8]) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let kind =
        content_type.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let magic: [&[u8]; 8] = [
        b"\x7fELF",
        b"MZ",
        b"#!",
        b"\xca\xfe\xba\xbe",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
    ];
    ending.is_some_and(|ending| PROGRAM_ENDINGS.contains(&ending.as_str()))
        || kind.is_some_and(|kind| PROGRAM_TYPES.contains(&kind.as_str()))
        || magic.iter().any(|magic| head.starts_with(magic))
}

/// The media type of a file of ours, by the ending of its name.
pub(crate) fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "vcf" => "text/vcard",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM D-44 test
    //= IM X-30 test
    #[test]
    fn x_30_hostile_names_become_harmless() {
        for (name, expected) in [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/etc/shadow", "shadow"),
            ("C:\\Windows\\system32\\calc.exe", "calc.exe"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            ("   ", "file"),
            ("a/", "file"),
            (".bashrc", "bashrc"),
            ("...x", "x"),
            ("x. . ", "x"),
            ("photo\0.jpg", "photo.jpg"),
            ("a\r\nb\x1b[31m.txt", "ab[31m.txt"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a\u{2066}b\u{2069}\u{200b}c", "abc"),
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("com1.tar.gz", "_com1.tar.gz"),
            ("LPT9", "_LPT9"),
            ("COM10", "COM10"),
            ("console.log", "console.log"),
            ("aux .txt", "_aux .txt"),
            ("a<b>c:d\"e|f?g*h", "a_b_c_d_e_f_g_h"),
            ("-rf", "_-rf"),
            ("file:///etc/passwd", "passwd"),
            ("grün.jpg", "grün.jpg"),
        ] {
            assert_eq!(safe(Some(name)), expected, "{name:?}");
        }
        assert_eq!(safe(None), "file");
        let long = format!("{}.tar", "ü".repeat(5000));
        let cut = safe(Some(&long));
        assert!(cut.len() <= LONGEST && cut.ends_with(".tar"), "{cut}");
        let ending = format!("a.{}", "x".repeat(10_000));
        assert!(safe(Some(&ending)).len() <= LONGEST);
    }

    #[test]
    fn a_second_file_of_a_name_gets_a_number() {
        assert_eq!(numbered("a.tar.gz", 2), "a.tar (2).gz");
        assert_eq!(numbered("a", 3), "a (3)");
    }

    //= IM X-30 test
    #[test]
    fn x_30_programs_are_known_by_name_type_and_content() {
        assert!(is_program("a.EXE", None, b"") && is_program("a.pdf.js", None, b""));
        assert!(is_program("a.txt", Some("Application/X-Sh; charset=utf-8"), b""));
        assert!(
            is_program("photo.jpg", Some("image/jpeg"), b"\x7fELF\x02")
                && is_program("a", None, b"#!/bin/sh")
        );
        assert!(
            !is_program("photo.jpg", Some("image/jpeg"), b"\xff\xd8\xff") && !is_program("exe", None, b"")
        );
    }
}
