//! What an attachment is, in a few words: whose card, which place, what it names.

use super::LONGEST_TEXT;
use crate::mime::charset;
use crate::mime::parameter;
use crate::mime::transfer::Coding;
use crate::mime::xml;

/// Octets of a document that are looked at.
const LONGEST: usize = 256 * 1024;

/// Lines of a card that are looked at.
const MOST_LINES: usize = 1000;

/// Whose card it is: FN, which every card has, else N (RFC 6350 6.2.1, 6.2.2).
pub(super) fn card(octets: &[u8], charset: Option<&str>) -> Option<String> {
    let text = charset::decode(octets.get(..LONGEST).unwrap_or(octets), charset)?;
    let mut name = None;
    for line in unfolded(&text).take(MOST_LINES) {
        let Some((property, value)) = line.split_once(':') else { continue };
        let mut parameters = property.split(';');
        // RFC 6350 3.3: a group may stand before the name.
        let full = parameters.next().unwrap_or_default();
        let bare = full.rsplit('.').next().unwrap_or_default().trim();
        let is_coded = parameters.any(|parameter| {
            parameter.rsplit('=').next().is_some_and(|value| value.eq_ignore_ascii_case("quoted-printable"))
        });
        let coding = if is_coded { Coding::QuotedPrintable } else { Coding::Identity };
        let words = String::from_utf8_lossy(&coding.decode(value.as_bytes())).into_owned();
        if bare.eq_ignore_ascii_case("FN") {
            return short(&unescaped(&words));
        }
        if bare.eq_ignore_ascii_case("N") && name.is_none() {
            // Family and given name come first.
            let pieces: Vec<&str> =
                words.split(';').take(2).map(str::trim).filter(|piece| !piece.is_empty()).collect();
            name = short(&unescaped(&pieces.into_iter().rev().collect::<Vec<_>>().join(" ")));
        }
    }
    name
}

/// RFC 6350 3.2: a line that begins with white space goes on.
fn unfolded(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let mut line = lines.next()?.to_owned();
        while let Some(more) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
            line.push_str(more.get(1..).unwrap_or_default());
        }
        Some(line)
    })
}

// RFC 6350 3.4
fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match if c == '\\' { rest.next().unwrap_or(c) } else { c } {
            'n' | 'N' if c == '\\' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Where it is: `53.1, 7.5`, and within how many metres and by which name if that is told. From a PIDF-LO (RFC 5491) or
/// what RCS makes of it.
//= IM X-25
pub(super) fn location(octets: &[u8]) -> Option<String> {
    if octets.len() > LONGEST {
        return None;
    }
    let found = xml::texts(octets, &["pos", "radius"], &[("rcspushlocation", "label")], LONGEST_TEXT).ok()?;
    let of = |name: &str| found.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str());
    let mut numbers = of("pos")?.split_ascii_whitespace();
    let place = coordinates(numbers.next()?, numbers.next()?)?;
    let radius = of("radius").and_then(number).filter(|radius| *radius > 0.0);
    let within = radius.map(|radius| format!(", within {radius} m")).unwrap_or_default();
    let label = of("label").filter(|label| !label.is_empty());
    let label = label.map(|label| format!("{label}: ")).unwrap_or_default();
    short(&format!("{label}{place}{within}"))
}

/// The same for a text that is nothing but a geo URI (RFC 5870), as RCS sends places to those who read no more.
pub(super) fn geo_uri(text: &str) -> Option<String> {
    let text = text.trim();
    let rest =
        text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("geo:")).and_then(|_| text.get(4..))?;
    if rest.len() > LONGEST_TEXT || rest.contains(char::is_whitespace) {
        return None;
    }
    let mut pieces = rest.split(';');
    let mut numbers = pieces.next()?.split(',');
    let place = coordinates(numbers.next()?, numbers.next()?)?;
    let uncertain = pieces.find_map(|piece| piece.strip_prefix("u=")).and_then(number);
    let within = uncertain.map(|radius| format!(", within {radius} m")).unwrap_or_default();
    Some(format!("{place}{within}"))
}

fn coordinates(latitude: &str, longitude: &str) -> Option<String> {
    let latitude = number(latitude).filter(|degrees| degrees.abs() <= 90.0)?;
    let longitude = number(longitude).filter(|degrees| degrees.abs() <= 180.0)?;
    Some(format!("{latitude}, {longitude}"))
}

/// A plain decimal number.
fn number(text: &str) -> Option<f64> {
    let plain = text.len() <= 32
        && text.bytes().all(|octet| octet.is_ascii_digit() || matches!(octet, b'.' | b'-' | b'+'));
    text.parse().ok().filter(|_| plain)
}

/// What message/external-body names (RFC 2046 5.2.3, RFC 2017).
pub(super) fn external(content_type: &[u8]) -> Option<String> {
    let named = ["URL", "name", "access-type"].iter().find_map(|name| parameter::text(content_type, name));
    named.and_then(|name| short(&name))
}

fn short(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(LONGEST_TEXT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_names_somebody() {
        let card = |text: &str| card(text.as_bytes(), None);
        let usual = "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Stevenson;John;Philip,Paul;Dr.\r\nFN:Dr. John\\, the\r\n  Great\r\nEND:VCARD";
        assert_eq!(card(usual).as_deref(), Some("Dr. John, the Great"));
        assert_eq!(card("N:Stevenson;John;;;\nEND:VCARD").as_deref(), Some("John Stevenson"));
        assert_eq!(
            card("item1.fn;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Zo=C3=AB").as_deref(),
            Some("Zo\u{eb}")
        );
        assert_eq!((card("TEL:1"), card(""), card("FN:")), (None, None, None));
        assert_eq!(card(&format!("FN:{}", "x".repeat(10_000))).map(|name| name.len()), Some(LONGEST_TEXT));
    }

    #[test]
    fn a_location_is_a_place() {
        let pidf = "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
            xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\" xmlns:gml=\"http://www.opengis.net/gml\" \
            xmlns:gs=\"http://www.opengis.net/pidflo/1.0\" entity=\"pres:a@x\"><tuple id=\"t\"><status><gp:geopriv>\
            <gp:location-info><gs:Circle srsName=\"urn:ogc:def:crs:EPSG::4326\"><gml:pos>42.5463 -73.2512</gml:pos>\
            <gs:radius uom=\"urn:ogc:def:uom:EPSG::9001\">850.24</gs:radius></gs:Circle></gp:location-info>\
            </gp:geopriv></status></tuple></presence>";
        assert_eq!(location(pidf.as_bytes()).as_deref(), Some("42.5463, -73.2512, within 850.24 m"));
        let rcs = "<rcsenvelope xmlns=\"urn:gsma:params:xml:ns:rcs:rcs:geolocation\" xmlns:gml=\"http://www.opengis.net/gml\" \
            entity=\"sip:a@x\"><rcspushlocation id=\"1\" label=\"Home\"><gml:Point><gml:pos>48.7 -3.4</gml:pos></gml:Point>\
            </rcspushlocation></rcsenvelope>";
        assert_eq!(location(rcs.as_bytes()).as_deref(), Some("Home: 48.7, -3.4"));
        for wrong in ["", "<a/>", "<pos>1</pos>", "<pos>91 0</pos>", "<pos>NaN 0</pos>", "<pos>1e1 0</pos>"] {
            assert_eq!(location(wrong.as_bytes()), None, "{wrong}");
        }
    }

    //= IM X-25 test
    #[test]
    fn x_25_a_location_is_xml_without_dtd_and_depth() {
        let bomb = "<!DOCTYPE p [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><pos>1 2</pos>";
        let nested = format!("{}<pos>1 2</pos>{}", "<a>".repeat(50), "</a>".repeat(50));
        assert_eq!((location(bomb.as_bytes()), location(nested.as_bytes())), (None, None));
        assert_eq!(location(b"<pos>1 2</pos>").as_deref(), Some("1, 2"));
    }

    #[test]
    fn a_geo_uri_is_a_place_too() {
        let rcs = "geo:50.7311865,7.0914591;crs=gcj02;u=10;rcs-l=Qualcomm%20Bonn";
        assert_eq!(geo_uri(rcs).as_deref(), Some("50.7311865, 7.0914591, within 10 m"));
        assert_eq!(geo_uri(" GEO:1,2,3\r\n").as_deref(), Some("1, 2"));
        for text in ["geo:1,2 is where I am", "geo:", "geo:here,there", "geology", "\u{e9}\u{e9}\u{e9}", ""] {
            assert_eq!(geo_uri(text), None, "{text}");
        }
    }

    #[test]
    fn what_lies_elsewhere_is_named() {
        let kind = b"message/external-body; access-type=URL; URL=\"http://x.example/track\"; size=5";
        assert_eq!(external(kind).as_deref(), Some("http://x.example/track"));
        assert_eq!(external(b"message/external-body; access-type=anon-ftp").as_deref(), Some("anon-ftp"));
        assert_eq!(external(b"message/external-body"), None);
    }
}
