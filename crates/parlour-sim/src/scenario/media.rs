//! What Mallory says over MSRP.

use parlour_proto::io::Service;

use super::{Line, Play};
use crate::world::NodeId;

impl Play<'_> {
    /// Mallory's end of some dialog: mostly of one that has come as far as MSRP.
    pub(super) fn a_line(&mut self) -> Option<usize> {
        let talking = |line: &(usize, &Line)| !line.1.script.peer_path.is_empty();
        let lines: Vec<usize> = self.lines.iter().enumerate().filter(talking).map(|(at, _)| at).collect();
        match self.dice.chance(90) {
            true => self.dice.pick(&lines).copied(),
            false => Some(usize::try_from(self.dice.below(self.lines.len() as u64)).unwrap_or(0)),
        }
    }

    pub(super) fn connect_media(&mut self) {
        if let Some(at) = self.a_line() {
            self.connect_for(at);
        }
    }

    pub(super) fn connect_for(&mut self, at: usize) {
        let Some(line) = self.lines.get_mut(at) else { return };
        let to = if line.script.peer_path.contains("192.0.2.1:") { NodeId(0) } else { NodeId(1) };
        let address = self.world.address(to, 2855);
        let way = self.world.open(self.mallory, address, Service::Msrp);
        self.media.push(way);
        line.media = Some(way);
        let bind = line.script.msrp_empty(&format!("bind{}", self.world.serial()));
        if self.dice.chance(80) {
            self.world.send(way, bind);
        }
    }

    pub(super) fn chunk(&mut self) {
        let Some(line) = self.a_line().and_then(|at| self.lines.get(at)).cloned() else { return };
        let Line { mut script, media, .. } = line;
        let other = self.dice.chance(10);
        let Some(way) = media.filter(|_| !other).or_else(|| self.dice.pick(&self.media).copied()) else {
            return;
        };
        let tid = format!("tid{}", self.world.serial());
        let message_id = format!("chunked-{}", self.dice.below(6));
        if self.dice.chance(10) {
            script.peer_path = script.peer_path.replace(";tcp", "x;tcp");
        }
        let body = vec![b'x'; usize::try_from(self.dice.below(6000)).unwrap_or(0)];
        let start = if self.dice.chance(85) { 1 } else { self.dice.below(6000) };
        let end = start + body.len() as u64;
        let total = match self.dice.below(6) {
            0 => "*".to_owned(),
            1 if self.dice.chance(30) => "400000000".to_owned(),
            _ => end.saturating_sub(1).to_string(),
        };
        let flag = self.dice.pick(&['$', '$', '$', '+', '#']).copied().unwrap_or('$');
        let frame = script.msrp_chunk(&tid, &message_id, &format!("{start}-*/{total}"), &body, flag);
        let rows =
            ["Success-Report: yes\r\n", "Failure-Report: no\r\n", "Failure-Report: partial\r\n", "", "", ""];
        let rows = self.dice.pick(&rows).copied().unwrap_or("");
        self.world.send(way, frame.replace("Byte-Range", &format!("{rows}Byte-Range")));
    }
}
