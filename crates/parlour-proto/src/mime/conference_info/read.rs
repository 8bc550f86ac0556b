//! Reading a document.

use std::collections::BTreeMap;

use super::{
    Condition, ConfUri, Description, Disconnection, Document, Endpoint, Fault, Joining, LONGEST, MOST_USERS,
    Media, State, Status, User, Users, Word,
};
use crate::mime::xml::{Element, Xml};

/// RFC 4575 4.2.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";

/// Octets of a key: an `entity` or `id`. It is never cut, as two keys could become the same.
const LONGEST_KEY: usize = 2048;

/// Characters of any other text; what is longer is cut.
const LONGEST_TEXT: usize = 1024;

/// Entries of one list of texts; the others are left out.
const MOST_ENTRIES: usize = 32;

/// Reads a document.
///
/// # Errors
/// It is longer than [`LONGEST`], no XML that we read (see [`XmlFault`](crate::mime::xml::XmlFault)), no conference
/// document, or its version, a state or a key is wrong.
//= IM R-17
//= IM X-25
pub fn parse(octets: &[u8]) -> Result<Document, Fault> {
    if octets.len() > LONGEST {
        return Err(Fault::Length(octets.len()));
    }
    let (mut xml, root) = Xml::open(octets, NAMESPACE)?;
    if root.name() != "conference-info" {
        return Err(Fault::Root);
    }
    // RFC 4575 4.3: the version must be there, whatever the schema says.
    let version = root.attribute("version")?.and_then(|version| version.trim().parse().ok());
    let mut document = Document {
        entity: key(&root, "entity")?.into(),
        state: state(&root)?,
        version: version.ok_or(Fault::Version)?,
        description: None,
        condition: None,
        users: None,
    };
    xml.children::<Fault>(|xml, child| {
        match child.name() {
            "conference-description" => document.description = Some(description(xml)?),
            "conference-state" => document.condition = Some(condition(xml)?),
            "users" => document.users = Some(users(xml, &child)?),
            _ => {}
        }
        Ok(())
    })?;
    xml.close()?;
    Ok(document)
}

fn description(xml: &mut Xml<'_>) -> Result<Description, Fault> {
    let mut description = Description::default();
    xml.children::<Fault>(|xml, child| {
        match child.name() {
            "display-text" => description.display_text = text(xml)?,
            "subject" => description.subject = text(xml)?,
            "free-text" => description.free_text = text(xml)?,
            "maximum-user-count" => description.maximum_user_count = number(xml)?,
            "conf-uris" => description.conf_uris = conf_uris(xml)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(description)
}

fn conf_uris(xml: &mut Xml<'_>) -> Result<Vec<ConfUri>, Fault> {
    let mut uris = Vec::new();
    xml.children::<Fault>(|xml, entry| {
        if entry.name() == "entry" && uris.len() < MOST_ENTRIES {
            let mut uri = ConfUri { uri: String::new(), purpose: None };
            xml.children::<Fault>(|xml, child| {
                match child.name() {
                    "uri" => uri.uri = text(xml)?.unwrap_or_default(),
                    "purpose" => uri.purpose = text(xml)?,
                    _ => {}
                }
                Ok(())
            })?;
            uris.push(uri);
        }
        Ok(())
    })?;
    Ok(uris)
}

fn condition(xml: &mut Xml<'_>) -> Result<Condition, Fault> {
    let mut condition = Condition::default();
    xml.children::<Fault>(|xml, child| {
        match child.name() {
            "user-count" => condition.user_count = number(xml)?,
            "active" => condition.active = truth(xml)?,
            "locked" => condition.locked = truth(xml)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(condition)
}

fn users(xml: &mut Xml<'_>, start: &Element<'_>) -> Result<Users, Fault> {
    let mut users = Users { state: state(start)?, list: BTreeMap::new() };
    xml.children::<Fault>(|xml, child| {
        if child.name() == "user" {
            let (entity, user) = (key(&child, "entity")?, user(xml, &child)?);
            users.list.insert(entity, user);
            if users.list.len() > MOST_USERS {
                return Err(Fault::Users);
            }
        }
        Ok(())
    })?;
    Ok(users)
}

fn user(xml: &mut Xml<'_>, start: &Element<'_>) -> Result<User, Fault> {
    let nickname = start.foreign_attribute("nickname")?;
    if nickname.as_ref().is_some_and(|name| name.len() > LONGEST_TEXT) {
        return Err(Fault::Key);
    }
    let mut user = User { state: state(start)?, nickname, ..User::default() };
    xml.children::<Fault>(|xml, child| {
        match child.name() {
            "display-text" => user.display_text = text(xml)?,
            "roles" => user.roles = Some(roles(xml)?),
            "cascaded-focus" => user.cascaded_focus = text(xml)?,
            "endpoint" => {
                let (entity, endpoint) = (key(&child, "entity")?, endpoint(xml, &child)?);
                user.endpoints.insert(entity, endpoint);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(user)
}

fn roles(xml: &mut Xml<'_>) -> Result<Vec<String>, Fault> {
    let mut roles = Vec::new();
    xml.children::<Fault>(|xml, entry| {
        if entry.name() == "entry" && roles.len() < MOST_ENTRIES {
            roles.extend(text(xml)?);
        }
        Ok(())
    })?;
    Ok(roles)
}

fn endpoint(xml: &mut Xml<'_>, start: &Element<'_>) -> Result<Endpoint, Fault> {
    let mut endpoint = Endpoint { state: state(start)?, ..Endpoint::default() };
    xml.children::<Fault>(|xml, child| {
        match child.name() {
            "display-text" => endpoint.display_text = text(xml)?,
            "status" => endpoint.status = word(xml, &Status::WORDS)?,
            "joining-method" => endpoint.joining_method = word(xml, &Joining::WORDS)?,
            "disconnection-method" => endpoint.disconnection_method = word(xml, &Disconnection::WORDS)?,
            "disconnection-info" => endpoint.disconnection_reason = reason(xml)?,
            "media" => {
                let (id, media) = (key(&child, "id")?, media(xml)?);
                endpoint.media.insert(id, media);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(endpoint)
}

fn reason(xml: &mut Xml<'_>) -> Result<Option<String>, Fault> {
    let mut reason = None;
    xml.children::<Fault>(|xml, child| {
        if child.name() == "reason" {
            reason = text(xml)?;
        }
        Ok(())
    })?;
    Ok(reason)
}

fn media(xml: &mut Xml<'_>) -> Result<Media, Fault> {
    let mut media = Media::default();
    xml.children::<Fault>(|xml, child| {
        match child.name() {
            "type" => media.kind = text(xml)?,
            "status" => media.status = text(xml)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(media)
}

/// RFC 4575 4.4: an element that does not say its state is told in full.
fn state(element: &Element<'_>) -> Result<State, Fault> {
    match element.attribute("state")?.as_deref().map(str::trim) {
        None | Some("full") => Ok(State::Full),
        Some("partial") => Ok(State::Partial),
        Some("deleted") => Ok(State::Deleted),
        Some(_) => Err(Fault::State),
    }
}

/// An attribute by which an element is known among its kind; empty if it is missing.
fn key(element: &Element<'_>, name: &str) -> Result<Box<str>, Fault> {
    let key = element.attribute(name)?.unwrap_or_default();
    if key.len() > LONGEST_KEY { Err(Fault::Key) } else { Ok(key.into()) }
}

fn text(xml: &mut Xml<'_>) -> Result<Option<String>, Fault> {
    Ok(Some(xml.text(LONGEST_TEXT)?).filter(|text| !text.is_empty()))
}

fn number(xml: &mut Xml<'_>) -> Result<Option<u32>, Fault> {
    Ok(xml.text(LONGEST_TEXT)?.parse().ok())
}

/// `xs:boolean`.
fn truth(xml: &mut Xml<'_>) -> Result<Option<bool>, Fault> {
    word(xml, &[("true", true), ("1", true), ("false", false), ("0", false)])
}

/// A word out of a list; none of them, such as one of an extension, counts as nothing.
fn word<T: Copy>(xml: &mut Xml<'_>, words: &[Word<T>]) -> Result<Option<T>, Fault> {
    let text = xml.text(LONGEST_TEXT)?;
    Ok(words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value))
}
