//! Whole files: their hashes, and their way to where they stay.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::UNIX_EPOCH;

use parlour_proto::client::{FileFault, StoreFault};
use parlour_proto::io::FileId;
use parlour_proto::sdp::FileHash;
use ring::digest;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::Part;
use super::name::{is_program, media_type, numbered, safe};
use super::preview::read_icon;
use super::{Expected, Finished, Places, Prepared, ToSend, Told, told_name};
use crate::store::Answer;

/// Files of one name in one directory.
const MOST_OF_A_NAME: u32 = 1_000_000;

#[derive(Debug)]
pub(super) enum Ask {
    Prepare { ticket: u64, files: Vec<ToSend> },
    Finish { file: FileId, part: PathBuf, open: io::Result<Arc<Part>>, expected: Expected },
}

pub(super) fn start(
    places: Option<Places>,
    answers: UnboundedSender<Answer>,
) -> io::Result<(mpsc::Sender<Ask>, JoinHandle<()>)> {
    let (asks, waiting) = mpsc::channel();
    let look = std::thread::Builder::new().name("file-look".into()).spawn(move || {
        while let Ok(ask) = waiting.recv() {
            let told = match ask {
                Ask::Prepare { ticket, files } => {
                    let files = files.into_iter().map(|ToSend { path, icon }| {
                        let cannot = |what: &Path, error| format!("{} cannot be {error}", what.display());
                        let icon = icon.as_deref().map(|icon| {
                            read_icon(icon).map_err(|error| cannot(icon, format!("a preview: {error}")))
                        });
                        let prepared =
                            prepare(&path).map_err(|error| cannot(&path, format!("sent: {error}")));
                        Ok(Prepared { icon: icon.transpose()?, ..prepared? })
                    });
                    Told::Prepared { ticket, files: files.collect() }
                }
                Ask::Finish { file, part, open, expected } => {
                    let outcome = match &places {
                        Some(places) => finish(places, &part, open, &expected),
                        None => Err((FileFault::Store(StoreFault::Broken), None)),
                    };
                    Told::Finished { file, outcome }
                }
            };
            let _ = answers.send(Answer::File(told));
        }
    })?;
    Ok((asks, look))
}

fn prepare(path: &Path) -> io::Result<Prepared> {
    let path = fs::canonicalize(path)?;
    // A pipe would keep us waiting for whoever writes into it.
    let waits_not = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut open = fs::OpenOptions::new().read(true).custom_flags(waits_not).open(&path)?;
    let meta = open.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let (read, hashes, _) = hash(&mut open)?;
    let after = open.metadata()?;
    if read != meta.len() || after.modified()? != meta.modified()? {
        return Err(io::Error::other("it changes just now"));
    }
    let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (name, media_type) = (told_name(&path), media_type(&path));
    Ok(Prepared { path, name, media_type, size: read, modified, hashes, icon: None, open })
}

/// The number of octets, their SHA-1 and SHA-256, and the first ones.
fn hash(open: &mut File) -> io::Result<(u64, Vec<FileHash>, Vec<u8>)> {
    open.seek(SeekFrom::Start(0))?;
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let (mut size, mut head) = (0_u64, Vec::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = open.read(&mut buffer)?;
        let octets = buffer.get(..read).unwrap_or_default();
        if octets.is_empty() {
            break;
        }
        if size == 0 {
            head.extend(octets.iter().take(16));
        }
        sha1.update(octets);
        sha256.update(octets);
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    let sha1 = sha1.finish().as_ref().try_into().map(FileHash::Sha1);
    let sha256 = sha256.finish().as_ref().try_into().map(FileHash::Sha256);
    Ok((size, sha1.into_iter().chain(sha256).collect(), head))
}

/// Checks a file that came in, and puts it where it stays: durable, under a name that was free. A damaged one lies apart.
//= IM D-43
//= IM D-44
//= IM X-30
fn finish(
    places: &Places,
    part: &Path,
    open: io::Result<Arc<Part>>,
    expected: &Expected,
) -> Result<Finished, (FileFault, Option<PathBuf>)> {
    let store = |error: io::Error| {
        tracing::error!(%error, "a file that came in cannot be kept");
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        (FileFault::Store(if full { StoreFault::Full } else { StoreFault::Broken }), None)
    };
    let open = open.map_err(store)?;
    open.sync().map_err(store)?;
    let mut reading = open.open.try_clone().map_err(store)?;
    // What lies on the disk counts, after whichever attempts it has come.
    let (size, hashes, head) = hash(&mut reading).map_err(store)?;
    let same_hash = |wanted: &FileHash| {
        hashes.iter().all(|hash| hash.algorithm() != wanted.algorithm() || hash == wanted)
    };
    let name = safe(expected.name.as_deref());
    if expected.size.is_some_and(|wanted| wanted != size) || !expected.hashes.iter().all(same_hash) {
        let apart = place(part, &places.quarantine(), &name).map_err(store)?;
        return Err((FileFault::Corrupt, Some(apart)));
    }
    let program = is_program(&name, expected.media_type.as_deref(), &head);
    let dir = if program { places.quarantine() } else { places.root.clone() };
    let path = place(part, &dir, &name).map_err(store)?;
    let apart = program.then_some("it is a program, or calls itself one");
    Ok(Finished { path, size, hashes, apart })
}

/// How a file gets another name, if nothing has that name, be it a link that leads nowhere.
type Move = fn(&Path, &Path) -> io::Result<()>;

/// In the order in which they are tried: not every disk knows links, nor how to rename without replacing.
const MOVES: [Move; 3] = [link, rename, take_and_rename];

fn link(part: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(part, path)
}

fn rename(part: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE)?)
}

/// The name is ours first, and then the file's.
fn take_and_rename(part: &Path, path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fs::rename(part, path).inspect_err(|_| drop(fs::remove_file(path)))
}

/// The first of the moves that this disk knows.
fn put(part: &Path, path: &Path, moves: &[Move]) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::Unsupported.into());
    for way in moves {
        outcome = way(part, path);
        if outcome.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    outcome
}

/// Moves a file into a directory under the first free name; the old name goes last. Names that differ by case alone are
/// taken for one.
fn place(part: &Path, dir: &Path, name: &str) -> io::Result<PathBuf> {
    place_by(&MOVES, part, dir, name)
}

fn place_by(moves: &[Move], part: &Path, dir: &Path, name: &str) -> io::Result<PathBuf> {
    let entries = fs::read_dir(dir)?;
    let taken: std::collections::HashSet<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().to_lowercase())).collect();
    for number in 1..=MOST_OF_A_NAME {
        let name = if number == 1 { name.to_owned() } else { numbered(name, number) };
        if taken.contains(&name.to_lowercase()) {
            continue;
        }
        let path = dir.join(name);
        match put(part, &path, moves) {
            Ok(()) => {
                File::open(dir)?.sync_all()?;
                // A link leaves it.
                match fs::remove_file(part) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => return Ok(path),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files of that name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Desk {
        dir: tempfile::TempDir,
        places: Places,
    }

    impl Desk {
        fn new() -> Desk {
            let dir = tempfile::tempdir().unwrap();
            let places = Places { root: dir.path().join("files") };
            places.make().unwrap();
            Desk { dir, places }
        }

        fn finish(
            &self,
            octets: &[u8],
            expected: &Expected,
        ) -> Result<Finished, (FileFault, Option<PathBuf>)> {
            let part = self.places.incoming().join("1-1.part");
            fs::write(&part, octets).unwrap();
            let open = File::open(&part).map(|open| Arc::new(Part::new(open)));
            let done = finish(&self.places, &part, open, expected);
            assert!(!part.exists());
            done
        }
    }

    fn expected(name: &str) -> Expected {
        Expected { name: Some(name.to_owned()), media_type: None, size: None, hashes: Vec::new() }
    }

    //= IM D-43 test
    //= IM X-30 test
    #[test]
    fn x_30_a_file_with_another_hash_lies_apart() {
        let desk = Desk::new();
        // The hashes of "abc" that FIPS 180-2 tells, A.1 and B.1.
        let sha1 =
            FileHash::parse("sha-1:A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D").unwrap();
        let right = Expected { size: Some(3), hashes: vec![sha1], ..expected("a.txt") };
        let done = desk.finish(b"abc", &right).unwrap();
        assert_eq!((done.path.clone(), done.size, done.apart), (desk.places.root.join("a.txt"), 3, None));
        assert!(done.hashes.contains(&sha1));
        let text = done.hashes[1].text();
        assert!(text.starts_with("BA:78:16:BF:8F:01:CF:EA"), "{text}");
        for (octets, expected) in [(&b"abd"[..], &right), (b"abcd", &right)] {
            let (fault, path) = desk.finish(octets, expected).unwrap_err();
            assert_eq!(fault, FileFault::Corrupt);
            assert!(path.unwrap().starts_with(desk.places.quarantine()));
        }
        let short = Expected { size: Some(4), ..expected("a.txt") };
        assert!(desk.finish(b"abc", &short).is_err(), "without a hash the size counts");
        let wrong = Expected { hashes: vec![FileHash::Sha256([0; 32])], ..expected("a.txt") };
        assert!(desk.finish(b"abc", &wrong).is_err(), "SHA-256 counts where the sender tells it");
    }

    //= IM D-44 test
    //= IM X-30 test
    #[test]
    fn x_30_names_that_differ_by_case_alone_are_one_name() {
        // Where case does not count, one would take the other's place.
        let desk = Desk::new();
        let names: Vec<String> = ["Photo.JPG", "photo.jpg", "PHOTO.jpg", "grün.txt", "GRÜN.txt"]
            .map(|name| desk.finish(b"x", &expected(name)).unwrap().path)
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["Photo.JPG", "photo (2).jpg", "PHOTO (3).jpg", "grün.txt", "GRÜN (2).txt"]);
    }

    //= IM D-43 test
    #[test]
    fn hashes_count_in_either_case_and_all_that_are_known() {
        let desk = Desk::new();
        let sha1 = "sha-1:a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d";
        let sha256 = "SHA-256:ba:78:16:bf:8f:01:cf:ea:41:41:40:de:5d:ae:22:23:b0:03:61:a3:96:17:7a:9c:b4:10:ff:61:f2:00:15:ad";
        let hashes: Vec<FileHash> = [sha1, sha256].iter().filter_map(|text| FileHash::parse(text)).collect();
        assert_eq!(hashes.len(), 2);
        assert!(desk.finish(b"abc", &Expected { hashes: hashes.clone(), ..expected("a") }).is_ok());
        let wrong = Expected { hashes: vec![hashes[0], FileHash::Sha256([0; 32])], ..expected("a") };
        assert_eq!(desk.finish(b"abc", &wrong).unwrap_err().0, FileFault::Corrupt, "one of two is wrong");
    }

    //= IM D-44 test
    //= IM X-30 test
    #[test]
    fn x_30_nothing_is_overwritten_and_programs_lie_apart() {
        let desk = Desk::new();
        let root = &desk.places.root;
        std::os::unix::fs::symlink(desk.dir.path().join("victim"), root.join("a.txt")).unwrap();
        for name in ["a (2).txt", "a (3).txt"] {
            assert_eq!(desk.finish(b"x", &expected("../a.txt")).unwrap().path, root.join(name));
        }
        assert!(!desk.dir.path().join("victim").exists());
        let program = desk.finish(b"#!/bin/sh\n", &expected("holiday.jpg")).unwrap();
        assert!(program.apart.is_some() && program.path.starts_with(desk.places.quarantine()));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&program.path).unwrap().permissions().mode() & 0o111, 0);
    }

    //= IM D-44 test
    //= IM X-30 test
    #[test]
    fn x_30_where_the_disk_knows_no_links_files_get_to_their_place_and_overwrite_nothing() {
        let unknown: Move = |_, _| Err(io::Error::from_raw_os_error(1));
        for moves in [&MOVES[..], &[unknown, rename, take_and_rename], &[unknown, unknown, take_and_rename]] {
            let desk = Desk::new();
            let (part, root) = (desk.places.incoming().join("1-1.part"), &desk.places.root);
            std::os::unix::fs::symlink(desk.dir.path().join("victim"), root.join("b.txt")).unwrap();
            for (name, octets) in [("a.txt", "1"), ("a (2).txt", "2")] {
                fs::write(&part, octets).unwrap();
                assert_eq!(place_by(moves, &part, root, "a.txt").unwrap(), root.join(name));
                assert!(!part.exists());
            }
            let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
            assert_eq!((read("a.txt"), read("a (2).txt")), ("1".to_owned(), "2".to_owned()));
            // What came up since the directory was read is seen, too.
            fs::write(&part, "3").unwrap();
            for taken in ["a.txt", "b.txt"] {
                let error = put(&part, &root.join(taken), moves).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{taken}");
            }
            assert_eq!(read("a.txt"), "1");
        }
        let desk = Desk::new();
        let part = desk.places.incoming().join("1-1.part");
        fs::write(&part, "1").unwrap();
        assert!(place_by(&[unknown], &part, &desk.places.root, "a").is_err());
    }

    #[test]
    fn what_is_no_file_is_not_sent() {
        let desk = Desk::new();
        assert!(prepare(desk.dir.path()).is_err() && prepare(Path::new("/dev/null")).is_err());
        // Nobody ever writes into it.
        let pipe = desk.dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(prepare(&pipe).is_err());
        let path = desk.dir.path().join("b.png");
        fs::write(&path, b"abc").unwrap();
        let prepared = prepare(&path).unwrap();
        assert_eq!((prepared.name.as_str(), prepared.media_type, prepared.size), ("b.png", "image/png", 3));
        assert_eq!(prepared.hashes.len(), 2);
    }
}
