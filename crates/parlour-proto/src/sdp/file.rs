//! What a description says of a file (RFC 5547 6): which one, and how it is meant.

use std::fmt::Write as _;

use parlour_msrp::accept::{essence, is_media_type};

use super::write::Lines;
use super::{Media, Unfit};
use crate::text::neutral_within;

/// The most hashes that are kept of one selector; others are passed over.
const MOST_HASHES: usize = 4;

/// The longest transfer-id that we take, octets.
const LONGEST_ID: usize = 256;

/// Which file a line is about, as far as its author says. What is absent leaves it open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSelector {
    /// The name as received, its percent-codes resolved: nothing of it is safe.
    pub name: Option<String>,
    /// The media type, with parameters.
    pub media_type: Option<String>,
    /// Octets of the whole file.
    pub size: Option<u64>,
    /// Hashes of the whole file.
    pub hashes: Vec<FileHash>,
}

/// The hash of a file. SHA-1 is the one that RFC 5547 defines: it shows that octets were lost, not that nobody changed
/// them on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileHash {
    /// `sha-1`
    Sha1([u8; 20]),
    /// `sha-256`, by the name in the registry of hash functions (RFC 4572 5).
    Sha256([u8; 32]),
}

/// The part of a file that is transferred: octets from 1 on, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileRange {
    /// The first octet, 1 or more.
    pub start: u64,
    /// The last one; None means the end of the file.
    pub stop: Option<u64>,
}

/// All that a line says of its file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileAttributes {
    /// Which file.
    pub selector: FileSelector,
    /// The name of this transfer, chosen by the offerer: another transfer of the same file has another one.
    pub transfer_id: String,
    /// `render`, `attachment`, ...
    pub disposition: Option<String>,
    /// When the file was made (RFC 5322), as received.
    pub created: Option<String>,
    /// When it was changed last.
    pub modified: Option<String>,
    /// When it was read last.
    pub read: Option<String>,
    /// The Content-ID of a preview in the body of the same message.
    pub icon: Option<String>,
    /// The part that is meant; None means all.
    pub range: Option<FileRange>,
}

impl FileHash {
    /// The algorithm, as selectors name it.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            FileHash::Sha1(_) => "sha-1",
            FileHash::Sha256(_) => "sha-256",
        }
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        match self {
            FileHash::Sha1(octets) => octets,
            FileHash::Sha256(octets) => octets,
        }
    }

    /// `AB:CD:..`
    pub fn text(&self) -> String {
        let pairs: Vec<String> = self.octets().iter().map(|octet| format!("{octet:02X}")).collect();
        pairs.join(":")
    }

    /// Reads `sha-1:AB:CD:..`; None for an algorithm that we do not know, and for what is no hash of its length.
    pub fn parse(value: &str) -> Option<FileHash> {
        let (algorithm, digits) = value.split_once(':')?;
        let mut octets = Vec::with_capacity(32);
        for pair in digits.split(':') {
            if pair.len() != 2 || octets.len() >= 32 {
                return None;
            }
            octets.push(u8::from_str_radix(pair, 16).ok()?);
        }
        if algorithm.eq_ignore_ascii_case("sha-1") {
            octets.try_into().ok().map(FileHash::Sha1)
        } else if algorithm.eq_ignore_ascii_case("sha-256") {
            octets.try_into().ok().map(FileHash::Sha256)
        } else {
            None
        }
    }
}

impl FileRange {
    /// `start-stop`
    pub fn parse(value: &str) -> Option<FileRange> {
        let (start, stop) = value.trim().split_once('-')?;
        let number = |digits: &str| {
            let all_digits = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
            all_digits.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let stop = if stop == "*" { None } else { Some(number(stop)?) };
        let start = number(start)?;
        (start >= 1 && stop.is_none_or(|stop| stop >= start)).then_some(FileRange { start, stop })
    }

    /// As attributes have it.
    pub fn text(&self) -> String {
        match self.stop {
            Some(stop) => format!("{}-{stop}", self.start),
            None => format!("{}-*", self.start),
        }
    }
}

impl FileSelector {
    //= IM D-40
    /// Reads the value of a `file-selector`. An empty one leaves all open.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse(value: &str) -> Result<FileSelector, &'static str> {
        let mut selector = FileSelector::default();
        for part in words(value) {
            let (key, value) = part.split_once(':').ok_or("a selector without a colon")?;
            match key.to_ascii_lowercase().as_str() {
                "name" => {
                    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    let name = quoted.and_then(decode).ok_or("a name that cannot be read")?;
                    selector.name = Some(name);
                }
                "type" if value.contains('/') && !value.contains(char::is_control) => {
                    selector.media_type = Some(value.to_owned());
                }
                "type" => return Err("a type that is none"),
                "size" => {
                    let digits = !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit());
                    let size = digits.then(|| value.parse().ok()).flatten();
                    selector.size = Some(size.ok_or("a size that is no number")?);
                }
                // RFC 5547 6: several hashes, one for each algorithm; who does not know one passes it over.
                "hash" if selector.hashes.len() < MOST_HASHES => {
                    selector.hashes.extend(FileHash::parse(value))
                }
                "hash" => {}
                // What later RFCs may add.
                _ => {}
            }
        }
        Ok(selector)
    }

    /// Whether its media type can stand in an attribute: a type and a subtype, perhaps with parameters, and no blank outside
    /// quotation marks, as that ends it (RFC 5547 6). All else of a selector is coded, or a number.
    ///
    /// # Errors
    /// What it is instead.
    pub fn can_be_written(&self) -> Result<(), String> {
        let is_one = |kind: &str| {
            is_media_type(essence(kind))
                && !kind.contains(char::is_control)
                && words(kind).eq([kind])
                && kind.matches('"').count().is_multiple_of(2)
        };
        match &self.media_type {
            Some(kind) if !is_one(kind) => Err(format!("{kind:?} is no media type")),
            Some(_) | None => Ok(()),
        }
    }

    /// As attributes have it. A hash is the word of whoever has the file, so it is left out on request.
    pub fn text(&self, with_hashes: bool) -> String {
        let mut parts = Vec::new();
        if let Some(name) = &self.name {
            parts.push(format!("name:\"{}\"", encode(name)));
        }
        if let Some(media_type) = &self.media_type {
            parts.push(format!("type:{media_type}"));
        }
        if let Some(size) = self.size {
            parts.push(format!("size:{size}"));
        }
        for hash in self.hashes.iter().filter(|_| with_hashes) {
            parts.push(format!("hash:{}:{}", hash.algorithm(), hash.text()));
        }
        parts.join(" ")
    }

    /// Whether a file that is `other` may be meant: all that both say is the same.
    pub fn fits(&self, other: &FileSelector) -> bool {
        let same_hash = |hash: &FileHash| {
            let mut others = other.hashes.iter().filter(|other| other.algorithm() == hash.algorithm());
            others.all(|other| other == hash)
        };
        agrees(&self.name, &other.name)
            && agrees(&self.size, &other.size)
            && self.hashes.iter().all(same_hash)
            && match (&self.media_type, &other.media_type) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                (_, _) => true,
            }
    }
}

fn agrees<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other,
        (_, _) => true,
    }
}

impl FileAttributes {
    /// What a line says of a file; None if it is about none.
    pub(super) fn of(media: &Media) -> Result<Option<FileAttributes>, Unfit> {
        let mut selectors = media.all("file-selector");
        let Some(selector) = selectors.next() else { return Ok(None) };
        if selectors.any(|again| again != selector) {
            return Err(Unfit::FileAttribute("file-selector stands twice"));
        }
        let selector = FileSelector::parse(selector).map_err(Unfit::FileAttribute)?;
        // RFC 5547 6: each offer names the transfer.
        let transfer_id = media.attribute("file-transfer-id").map(str::trim).unwrap_or_default();
        if transfer_id.is_empty() || transfer_id.len() > LONGEST_ID || transfer_id.contains(' ') {
            return Err(Unfit::FileAttribute("file-transfer-id is missing or malformed"));
        }
        let range = match media.attribute("file-range") {
            Some(range) => {
                Some(FileRange::parse(range).ok_or(Unfit::FileAttribute("file-range is malformed"))?)
            }
            None => None,
        };
        let beyond = |range: &FileRange| selector.size.is_some_and(|size| range.start > size);
        if range.as_ref().is_some_and(beyond) {
            return Err(Unfit::FileAttribute("file-range begins behind the end of the file"));
        }
        let mut file = FileAttributes {
            selector,
            transfer_id: transfer_id.to_owned(),
            disposition: media.attribute("file-disposition").map(|value| value.trim().to_owned()),
            // RFC 2392: cid: and the Content-ID, percent-coded.
            icon: media
                .attribute("file-icon")
                .and_then(|url| url.trim().strip_prefix("cid:"))
                .and_then(decode),
            range,
            ..FileAttributes::default()
        };
        for part in words(media.attribute("file-date").unwrap_or_default()) {
            let Some((key, value)) = part.split_once(':') else { continue };
            let date = Some(value.trim_matches('"').to_owned());
            match key.to_ascii_lowercase().as_str() {
                "creation" => file.created = date,
                "modification" => file.modified = date,
                "read" => file.read = date,
                _ => {}
            }
        }
        Ok(Some(file))
    }

    /// Octets of the file before those that are transferred.
    pub fn skipped(&self) -> u64 {
        self.range.map_or(0, |range| range.start.saturating_sub(1))
    }

    /// How many octets are transferred, if that is known.
    pub fn length(&self) -> Option<u64> {
        let end = match (self.range.and_then(|range| range.stop), self.selector.size) {
            (Some(stop), Some(size)) => Some(stop.min(size)),
            (stop, size) => stop.or(size),
        };
        end.map(|end| end.saturating_sub(self.skipped()))
    }

    //= IM D-41
    /// The attributes of a line that offers, or accepts, the file. RFC 5547 8.3.1: who receives the file adds nothing of
    /// his own, and leaves the hash to who has it.
    pub(super) fn write(&self, lines: &mut Lines, part: Part) {
        let receives = part == Part::AnswersAndReceives;
        let selector = self.selector.text(!receives);
        if selector.is_empty() {
            lines.flag("file-selector");
        } else {
            lines.attribute("file-selector", &selector);
        }
        lines.attribute("file-transfer-id", &self.transfer_id);
        if let (Some(disposition), Part::Offers) = (&self.disposition, part) {
            lines.attribute("file-disposition", disposition);
        }
        let dates = [("creation", &self.created), ("modification", &self.modified), ("read", &self.read)];
        let dates: Vec<String> = dates
            .into_iter()
            .filter_map(|(key, date)| Some(format!("{key}:\"{}\"", date.as_ref()?.replace('"', "'"))))
            .collect();
        if !dates.is_empty() && part == Part::Offers {
            lines.attribute("file-date", &dates.join(" "));
        }
        if let (Some(icon), Part::Offers) = (&self.icon, part) {
            lines.attribute("file-icon", &format!("cid:{}", encode(icon)));
        }
        if let Some(range) = &self.range {
            lines.attribute("file-range", &range.text());
        }
    }

    /// For people: a few words.
    pub fn brief(&self) -> String {
        neutral_within(self.selector.name.as_deref().unwrap_or("a file without a name"), 80)
    }
}

/// Whose description a file stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The offerer's.
    Offers,
    /// The answerer's, who sends the file.
    AnswersAndSends,
    /// The answerer's, who receives it.
    AnswersAndReceives,
}

/// Splits at spaces outside quotation marks. RFC 5547 6: a quotation mark in a name is percent-coded.
fn words(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = value.split(move |letter: char| {
        quoted ^= letter == '"';
        letter == ' ' && !quoted
    });
    parts.filter(|part| !part.is_empty())
}

/// Resolves percent-codes; None if one is malformed.
fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            octets.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        rest = after;
        octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
    }
    Some(String::from_utf8_lossy(&octets).into_owned())
}

/// RFC 5547 6: NUL, CR, LF, the quotation mark and the percent sign are coded; other controls too, as no peer needs them
/// bare.
fn encode(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || matches!(letter, '"' | '%') {
            let mut octets = [0; 4];
            for octet in letter.encode_utf8(&mut octets).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(coded, "%{octet:02X}");
            }
        } else {
            coded.push(letter);
        }
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E";

    fn of(attributes: &str) -> Result<Option<FileAttributes>, Unfit> {
        let text = format!("v=0\no=- 1 1 IN IP4 a\nm=message 1 TCP/MSRP *\n{attributes}");
        FileAttributes::of(&crate::sdp::parse(text.as_bytes()).unwrap().media[0])
    }

    //= IM D-40 test
    #[test]
    fn a_selector_is_read_and_written_again() {
        let value =
            format!("name:\"My %22cool%22 100%25 picture.jpg\" type:image/jpeg size:4092 hash:sha-1:{HASH}");
        let selector = FileSelector::parse(&value).unwrap();
        assert_eq!(selector.name.as_deref(), Some("My \"cool\" 100% picture.jpg"));
        assert_eq!((selector.media_type.as_deref(), selector.size), (Some("image/jpeg"), Some(4092)));
        assert_eq!(selector.hashes[0].text(), HASH);
        assert_eq!(selector.text(true), value);
        assert!(!selector.text(false).contains("hash"));
        assert_eq!(FileSelector::parse(""), Ok(FileSelector::default()));
        assert_eq!(FileSelector::parse("type:a/b\rc"), Err("a type that is none"));
        let later = FileSelector::parse("hash:md5:00:11 colour:red hash:sha-1:72").unwrap();
        assert_eq!(later, FileSelector::default(), "what is unknown or of the wrong length is passed over");
    }

    //= IM D-41 test
    #[test]
    fn no_media_type_ends_its_line_or_the_selector() {
        let of_type = |kind: &str| FileSelector { media_type: Some(kind.to_owned()), ..Default::default() };
        for kind in ["text/plain", "text/plain;charset=utf-8", "a/b;c=\"d e\"", "application/vnd.x+xml"] {
            assert_eq!(of_type(kind).can_be_written(), Ok(()), "{kind}");
        }
        assert_eq!(FileSelector::default().can_be_written(), Ok(()));
        for wrong in [
            "",
            "text",
            "text/",
            "text/plain\r\nm=audio 4000 RTP/AVP 0",
            "text/plain;a=\"b\nc\"",
            "text/plain\n",
            "text/plain; size=1",
            " text/plain",
            "text/plain size:1",
            "text/plain;a=\"b",
        ] {
            assert_eq!(of_type(wrong).can_be_written(), Err(format!("{wrong:?} is no media type")));
        }
    }

    //= IM D-40 test
    #[test]
    fn a_sha_256_is_read() {
        let text = format!("sha-256:{}", ["0A"; 32].join(":"));
        assert_eq!(FileHash::parse(&text), Some(FileHash::Sha256([10; 32])));
        assert_eq!(FileHash::parse(&format!("{text}:00")), None);
    }

    //= IM D-40 test
    #[test]
    fn what_cannot_be_read_is_refused() {
        for wrong in [
            "a=file-selector:name:\"a\n",
            "a=file-selector:name:\"%0\"\n",
            "a=file-selector:size:-1\n",
            "a=file-selector:size:99999999999999999999999\n",
            "a=file-selector:type:image\n",
            "a=file-selector:nothing\n",
            "a=file-selector:size:1\na=file-selector:size:2\n",
        ] {
            let text = format!("{wrong}a=file-transfer-id:x\n");
            assert!(matches!(of(&text), Err(Unfit::FileAttribute(_))), "{wrong}: {:?}", of(&text));
        }
        for wrong in [
            "",
            "a=file-transfer-id:\n",
            "a=file-transfer-id:a b\n",
            "a=file-transfer-id:x\na=file-range:0-5\n",
        ] {
            assert!(of(&format!("a=file-selector:size:1\n{wrong}")).is_err(), "{wrong}");
        }
        let behind = "a=file-selector:size:10\na=file-transfer-id:x\na=file-range:11-*\n";
        assert!(of(behind).is_err());
        assert_eq!(of("a=sendonly\n"), Ok(None));
    }

    //= IM D-40 test
    #[test]
    fn ranges_say_what_is_left() {
        let file =
            of("a=file-selector:size:100\na=file-transfer-id:x\na=file-range:31-*\n").unwrap().unwrap();
        assert_eq!((file.skipped(), file.length()), (30, Some(70)));
        let file =
            of("a=file-selector:size:100\na=file-transfer-id:x\na=file-range:31-40\n").unwrap().unwrap();
        assert_eq!((file.skipped(), file.length()), (30, Some(10)));
        let file = of("a=file-selector\na=file-transfer-id:x\n").unwrap().unwrap();
        assert_eq!((file.skipped(), file.length()), (0, None));
        for wrong in ["5", "5-", "-5", "5-4", "*-5", "+1-2"] {
            assert_eq!(FileRange::parse(wrong), None, "{wrong}");
        }
    }

    //= IM D-40 test
    #[test]
    fn dates_icon_and_disposition_are_read() {
        let text = "a=file-selector:name:\"x\"\na=file-transfer-id:Q6LMoGymJdh0IKIgD6wD0jkcfgva4xvE\n\
            a=file-disposition:render\na=file-icon:cid:id2%40alicepc.example.com\n\
            a=file-date:creation:\"Mon, 15 May 2006 15:01:31 +0300\" read:\"Tue, 16 May 2006 15:01:31 +0300\"\n";
        let file = of(text).unwrap().unwrap();
        assert_eq!(file.icon.as_deref(), Some("id2@alicepc.example.com"));
        assert_eq!(file.created.as_deref(), Some("Mon, 15 May 2006 15:01:31 +0300"));
        assert!(file.modified.is_none() && file.read.is_some());
        assert_eq!(file.disposition.as_deref(), Some("render"));
    }

    //= IM D-41 test
    #[test]
    fn two_selectors_mean_the_same_file_where_both_speak() {
        let selector = |text: &str| FileSelector::parse(text).unwrap();
        let whole = format!("name:\"a.jpg\" type:image/jpeg size:5 hash:sha-1:{HASH}");
        assert!(selector("").fits(&selector(&whole)) && selector("type:IMAGE/jpeg").fits(&selector(&whole)));
        let other = HASH.replace("72", "73");
        for different in ["name:\"b.jpg\"", "size:6", "type:image/png", &format!("hash:sha-1:{other}")] {
            assert!(!selector(different).fits(&selector(&whole)), "{different}");
        }
    }
}
