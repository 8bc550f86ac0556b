//! `a=chatroom`: what a chat room allows, and what a participant understands (RFC 7701 8).

use super::Media;
use super::write::Lines;

/// What we understand of chat rooms.
const OURS: &str = "nickname private-messages";

/// Unknown tokens that are kept.
const MOST: usize = 16;

/// The longest of them, octets.
const LONGEST: usize = 64;

/// The chat-tokens of the other side: not negotiated but declared, by each side for itself, and anew in each description
/// (RFC 7701 8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chatroom {
    /// Whether NICKNAME is taken.
    pub nickname: bool,
    /// Whether a message may go to one participant alone.
    pub private_messages: bool,
    /// Tokens that we do not know, as received: 16 at most.
    pub others: Vec<String>,
}

impl Chatroom {
    /// What a stream's attributes say; `None` if the other side knows nothing of chat rooms.
    //= IM M-60
    pub(super) fn of(media: &Media) -> Option<Chatroom> {
        // An attribute without a colon has no value, and says that no token applies.
        media.attribute("chatroom")?;
        let mut chatroom = Chatroom::default();
        for token in media.all("chatroom").flat_map(str::split_ascii_whitespace) {
            match token {
                // The prose of RFC 7701 writes the first one in the plural, its grammar in the singular.
                _ if token.eq_ignore_ascii_case("nickname") || token.eq_ignore_ascii_case("nicknames") => {
                    chatroom.nickname = true;
                }
                _ if token.eq_ignore_ascii_case("private-messages") => chatroom.private_messages = true,
                _ if chatroom.others.len() < MOST && token.len() <= LONGEST => {
                    chatroom.others.push(token.to_owned());
                }
                _ => {}
            }
        }
        Some(chatroom)
    }
}

impl Lines {
    /// What we understand of chat rooms.
    pub(super) fn chatroom(&mut self) {
        self.attribute("chatroom", OURS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Option<Chatroom> {
        let text = format!("v=0\no=- 1 1 IN IP4 a\nm=message 9 TCP/MSRP *\n{lines}");
        let session = super::super::parse(text.as_bytes()).expect("a description");
        Chatroom::of(&session.media[0])
    }

    //= IM M-60 test
    #[test]
    fn tokens_are_read_in_any_order_and_bounded() {
        assert_eq!(read("a=path:x\n"), None);
        assert_eq!(read("a=chatroom\n"), Some(Chatroom::default()));
        assert_eq!(read("a=chatroom:\n"), Some(Chatroom::default()));
        let both = Chatroom { nickname: true, private_messages: true, others: Vec::new() };
        assert_eq!(read("a=chatroom:nickname private-messages\n"), Some(both.clone()));
        assert_eq!(read("a=ChatRoom:  Private-Messages   nicknames \n"), Some(both.clone()));
        let others = vec!["com.example.chat.foo".to_owned()];
        let foo = Some(Chatroom { others, ..both });
        assert_eq!(read("a=chatroom:nickname com.example.chat.foo private-messages nickname\n"), foo);
        let many = format!("a=chatroom:{} {}\n", "x ".repeat(1000), "y".repeat(65));
        let many = read(&many).expect("an attribute");
        assert_eq!((many.others.len(), many.nickname, many.private_messages), (MOST, false, false));
    }
}
