//! Previews of files (RFC 5547 8.8): those that somebody offers, kept as they came for whoever looks at them with care, and
//! those that the user sends.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parlour_proto::client::MAX_ICON;
use parlour_proto::event::Icon;

use super::Places;

/// Previews that are kept of one run.
const MOST: usize = 256;

impl Places {
    /// Where previews lie.
    pub(crate) fn previews(&self) -> PathBuf {
        self.root.join("quarantine").join("previews")
    }

    /// Keeps a preview under a name of ours; nothing of it is looked into but its first octets.
    ///
    /// # Errors
    /// It is no picture of a kind that we know, there are too many, or it cannot be written.
    //= IM D-41
    //= IM X-30
    pub(crate) fn keep_preview(&self, mark: &str, name: &str, octets: &[u8]) -> io::Result<PathBuf> {
        let ending = picture(octets).ok_or_else(|| io::Error::other("it is no picture that we know"))?;
        if fs::read_dir(self.previews())?.count() >= MOST {
            return Err(io::Error::other("there are too many"));
        }
        let path = self.previews().join(format!("{mark}-{name}.{ending}"));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(octets)?;
        Ok(path)
    }

    /// Removes the previews that a store has kept: their offers are of the past.
    pub(crate) fn drop_previews(&self, mark: &str) -> io::Result<()> {
        for entry in fs::read_dir(self.previews())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_prefix(mark).is_some_and(|rest| rest.starts_with('-')) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Reads the preview of a file that is sent.
///
/// # Errors
/// It is no picture of a kind that others know, it is too large, or it cannot be read.
pub(super) fn read_icon(path: &Path) -> io::Result<Icon> {
    // A pipe would keep us waiting for whoever writes into it.
    let waits_not = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let open = OpenOptions::new().read(true).custom_flags(waits_not).open(path)?;
    if !open.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let most = u64::try_from(MAX_ICON).unwrap_or(u64::MAX);
    let mut octets = Vec::new();
    open.take(most.saturating_add(1)).read_to_end(&mut octets)?;
    if octets.len() > MAX_ICON {
        return Err(io::Error::other(format!("it has more than {MAX_ICON} octets: make it smaller")));
    }
    let media_type = match picture(&octets) {
        Some("png") => "image/png",
        Some("jpg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some(_) | None => return Err(io::Error::other("it is no PNG, JPEG, GIF or WebP picture")),
    };
    Ok(Icon { media_type: media_type.to_owned(), octets, path: None })
}

/// The ending of a picture's name, by its first octets, whatever it is said to be.
fn picture(octets: &[u8]) -> Option<&'static str> {
    match octets {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= IM D-40 test
    #[test]
    fn what_is_sent_as_a_preview_is_a_small_picture() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("icon");
        let read = |octets: &[u8]| {
            fs::write(&path, octets).unwrap();
            read_icon(&path)
        };
        let jpeg = [&[0xff, 0xd8, 0xff][..], &vec![0; MAX_ICON - 3]].concat();
        let icon = read(&jpeg).unwrap();
        assert_eq!((icon.media_type.as_str(), icon.octets), ("image/jpeg", jpeg.clone()));
        let large = [jpeg, vec![0]].concat();
        assert!(read(&large).unwrap_err().to_string().contains("16384 octets: make it smaller"));
        for (octets, kind) in [(&b"\x89PNG\r\n\x1a\n"[..], "image/png"), (b"GIF89a", "image/gif")] {
            assert_eq!(read(octets).unwrap().media_type, kind);
        }
        assert!(read(b"<svg/>").is_err() && read(b"").is_err());
        assert!(read_icon(dir.path()).is_err(), "a directory");
    }

    //= IM D-41 test
    //= IM X-30 test
    #[test]
    fn x_30_a_preview_is_kept_apart_if_it_is_a_picture_and_goes_with_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { root: dir.path().to_owned() };
        places.make().unwrap();
        let png = b"\x89PNG\r\n\x1a\nrest";
        let path = places.keep_preview("0a1b", "3-7", png).unwrap();
        assert_eq!(
            (path.file_name().unwrap().to_str(), fs::read(&path).unwrap()),
            (Some("0a1b-3-7.png"), png.to_vec())
        );
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(places.keep_preview("0a1b", "3-7", png).is_err(), "nothing is overwritten");
        // A drawing may hold scripts, and a page is none.
        for other in [&b"<svg onload='x'/>"[..], b"<html>", b"MZ\x90", b""] {
            assert!(places.keep_preview("0a1b", "3-8", other).is_err());
        }
        let foreign = places.keep_preview("ffff", "3-7", b"\xff\xd8\xff\xe0").unwrap();
        places.drop_previews("0a1b").unwrap();
        assert!(!path.exists() && foreign.exists());
        for name in 0..MOST {
            let _ = places.keep_preview("0a1b", &format!("4-{name}"), b"GIF89a").ok();
        }
        assert!(places.keep_preview("0a1b", "5-1", b"GIF89a").is_err());
    }
}
